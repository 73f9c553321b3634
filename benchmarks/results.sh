#!/usr/bin/env bash
# The evaluations behind docs/results.md. Each may be stopped and started again: what is there is not asked anew.
#   N     items of simplemath (1000)      DATA  folder of .jsonl files for the real sets; without it they are left out
#   OUT   where results go (results; tables beside it in OUT-tables, so that `tokencollab report OUT/*` has runs only)
#   ONLY  some of: pairs exits logits sweeps alignment real fluency between latency
set -euo pipefail
n=${N:-1000} out=${OUT:-results} data=${DATA:-} only=${ONLY:-pairs exits logits sweeps alignment real fluency between latency}

tables=${out%/}-tables
mkdir -p "$out" "$tables"

run() { tokencollab "$1" --resume --out "$out/$2" "${@:3}"; }
transfer() {  # PRICE of Gemma, the small model, its PRICE: the methods, comma-separated
  for method in -large-short:short_tokens=12 -large-reasoning -small :short_tokens=12 \
    ":short_tokens=12:selector=surprise(2)" ":short_tokens=12:selector=tail(16)"; do
    echo -n "transfer$method:price.gemma-3-270m=$1:price.$2=$3,"
  done
}
math() { run "$1" "$2" --dataset simplemath --n "$n" "${@:3}"; }

table=base,each,unite,gac,duetnet,dp,dk,bytewise,upara-20,dpara-20,confipara-u,confipara-d,consult
declare -A pairs=(
  [bytes-pairs]="--base arith-bytes --with arith-pairs"
  [bytes-words]="--base arith-bytes --with arith-words"
  [pairs-words]="--base arith-pairs --with arith-words"
  [bytes-dropout]="--base arith-bytes --with arith-pairs-dropout"
  [triple]="--base arith-bytes --with arith-pairs --with arith-words"
)
declare -A plain=(
  [bytes-pairs-plain]="--base arith-bytes-plain --with arith-pairs-plain"
  [bytes-words-plain]="--base arith-bytes-plain --with arith-words-plain"
  [pairs-words-plain]="--base arith-pairs-plain --with arith-words-plain"
  [triple-plain]="--base arith-bytes-plain --with arith-pairs-plain --with arith-words-plain"
)
words="--base arith-bytes --with arith-words"

for part in $only; do
  case $part in
    pairs)  # which methods beat the better single model
      for name in "${!pairs[@]}"; do math eval "$name" ${pairs[$name]} --methods $table; done
      for name in "${!plain[@]}"; do math eval "$name" ${plain[$name]} --methods $table; done
      ;;
    exits)  # ConfiPara against fixed exits, its ablations, bytewise voting underneath
      exits=each
      for kind in unite bytewise; do
        exits+=,$kind
        for after in 5 10 15 20 30; do exits+=,$kind:exit=fixed-$after; done
        for exit in self-efficacy confidence reliability consult; do exits+=,$kind:exit=$exit; done
      done
      math eval exits $words --methods "$exits"
      ;;
    logits)  # what the scale of logits does
      for name in bytes-words bytes-dropout; do
        weighted=duetnet:weight.arith-bytes=2,duetnet:weight.arith-bytes=0.5
        math eval "logits-$name" ${pairs[$name]} \
          --methods "each,duetnet,duetnet:reference=floor,dk,dk:reference=floor,dp,dp:top_k=50,gac,unite,$weighted"
      done
      ;;
    sweeps)
      math sweep omega-theta $words --methods each,unite,bytewise,confipara-u,confipara-b \
        --over omega=5,10,20,40 --over theta=0.5,0.6,0.7,0.8
      for name in bytes-words bytes-pairs pairs-words; do
        math sweep "rho-eps-$name" ${pairs[$name]} --methods each,unite,duetnet,bytewise,confipara-u,confipara-d,confipara-b \
          --over rho=1.1,1.5,2,3 --over eps=0.05,0.1,0.15,0.2,0.3
      done
      math sweep top-t $words --methods each,unite,duetnet,bytewise --over top_t=1,2,3,5,1-2
      math sweep top-p $words --methods each,duetnet,dp --over top_p=0.25,0.5,0.75,0.9,1.0
      math sweep top-k $words --methods each,unite,duetnet,dk --over top_k=1,2,5,10,20,50
      ;;
    alignment)  # how members hold each other's pieces
      for name in bytes-pairs bytes-dropout pairs-words; do
        python -m benchmarks.alignment --resume --out "$out/alignment-$name" --n "$n" ${pairs[$name]} |
          tee "$tables/alignment-$name.md"
      done
      ;;
    real)
      [[ $data ]] || { echo "results: without DATA=folder the real sets are left out" >&2; continue; }
      for set in boolq mmlu truthfulqa gsm8k; do
        run eval "real-$set" --dataset "$set" --data "$data" --n 50 --base smollm2-135m-instruct --with gemma-3-270m \
          --methods each,unite,duetnet,duetnet:reference=floor,dp,bytewise,consult,confipara-u,confipara-d
      done
      ;;
    fluency)  # how probable the answers of the real sets are to the larger model
      [[ $data ]] || { echo "results: without DATA=folder the real sets are left out" >&2; continue; }
      python -m benchmarks.fluency "$out"/real-*/ --by gemma-3-270m --data "$data" --scores "$tables/fluency.jsonl" |
        tee "$tables/fluency.md"
      ;;
    between)  # methods between models, all from the same samples; and transfer of reasoning
      run eval between --dataset simplemath --n 300 --base arith-pairs-dropout --with arith-bytes --with arith-words \
        --with arith-pairs --methods best-of-n:samples=16:top_k=10
      run eval transfer-simplemath --dataset simplemath --n 60 --base gemma-3-270m --with arith-bytes --max-tokens 96 \
        --stop $'\n\n' --dtype bfloat16 --methods "$(transfer 1 arith-bytes 0.003)"
      [[ $data ]] || { echo "results: without DATA=folder the real sets are left out" >&2; continue; }
      run eval transfer-boolq --dataset boolq --data "$data" --n 50 --base gemma-3-270m --with smollm2-135m-instruct \
        --prompt bare --max-tokens 96 --stop $'\nQuestion:' --dtype bfloat16 \
        --methods "$(transfer 2 smollm2-135m-instruct 1)"
      ;;
    latency)  # one answer at a time, over 1 to 4 models
      few=$((n < 30 ? n : 30)) members=()
      for model in arith-pairs arith-words arith-pairs-dropout; do
        members+=(--with "$model")
        for runtime in local ray; do
          math eval "latency-$((${#members[@]} / 2 + 1))-$runtime" --base arith-bytes "${members[@]}" --n $few \
            --methods base,unite,bytewise,confipara-u,confipara-b,consult --concurrency 1 --runtime $runtime
        done
      done
      ;;
    *) echo "results: there is no part $part" >&2; exit 2 ;;
  esac
done
shopt -s nullglob
latency=("$out"/latency-*) others=()
for folder in "$out"/*/; do [[ $folder == "$out"/latency-* || ! -f $folder/summary.json ]] || others+=("$folder"); done
((${#others[@]})) && tokencollab report "${others[@]}" --out "${out%/}-report"
((${#latency[@]})) && tokencollab report "${latency[@]}" --out "${out%/}-latency-report"
exit 0
