#!/usr/bin/env bash
# Mutation tests of the pure core: tokencollab/policies and tokencollab/protocol, killed by their fast tests.
# Usage: benchmarks/mutants.sh [PATTERN ...]   e.g. 'tokencollab.policies.self_efficacy*'; none: everything (about an hour on
# two cores). Works on a copy in build/mutants, which keeps results: a second run goes on where the first stopped.
# mutmut changes nothing here. PYTHON names the interpreter with the project's test requirements and mutmut 3.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
python=${PYTHON:-.venv/bin/python}
[[ $python = /* ]] || python=$root/$python
copy=build/mutants
mkdir -p "$copy/tokencollab" "$copy/tests/unit" "$copy/tests/property"
echo '"""Only the core is here: nothing of torch, transformers or ray is imported."""' > "$copy/tokencollab/__init__.py"
cp -r tokencollab/policies tokencollab/protocol "$copy/tokencollab/"
for folder in unit/policies unit/protocol property/policies; do
    if [[ -d tests/$folder ]]; then cp -r "tests/$folder" "$copy/tests/${folder%/*}/"; fi
done
cat > "$copy/tests/conftest.py" <<'CONFIG'
"""A mutant that fails a property is dead: no time for the smallest example."""

from hypothesis import Phase, settings

settings.register_profile("mutants", phases=(Phase.explicit, Phase.generate))
settings.load_profile("mutants")
CONFIG
cat > "$copy/pyproject.toml" <<'CONFIG'
[project]
name = "mutants"
version = "0"
[tool.pytest.ini_options]
addopts = "--import-mode=importlib -p no:cacheprovider"
pythonpath = [".", "tests"]
[tool.mutmut]
source_paths = ["tokencollab"]
also_copy = ["tests", "tokencollab"]
pytest_add_cli_args = ["--deselect=tests/property/policies/test_choice_properties.py::test_nothing_depends_on_the_hash_seed"]
pytest_add_cli_args_test_selection = ["tests/unit", "tests/property"]
do_not_mutate = ["*/wire.py", "*/messages.py"]
CONFIG
cd "$copy"
"$python" -m mutmut run --max-children "$(nproc)" "$@"
"$python" -m mutmut results | sed 's/__mutmut.*: / /' | sort | uniq -c
