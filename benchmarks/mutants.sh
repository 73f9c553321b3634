#!/usr/bin/env bash
# Mutation tests of the pure core: tokencollab/policies and tokencollab/protocol, killed by their fast tests (docs/mutation.md).
# Usage: make mutants [MUTANTS='PATTERN ...'], e.g. MUTANTS='tokencollab.policies.bytewise*'; none: everything, some hours
# on two cores. Nothing here is changed: it works on a copy in build/mutants, whose results are kept, so that a second run
# goes on where the first stopped. PYTHON is an interpreter with requirements/mutants.txt.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
python=${PYTHON:-build/mutants-venv/bin/python}
[[ $python = /* ]] || python=$root/$python
copy=build/mutants
rm -rf "$copy/tests" "$copy/tokencollab"
mkdir -p "$copy/tokencollab" "$copy/tests/unit" "$copy/tests/property"
echo '"""Only the core is here: nothing of torch, transformers or ray is imported."""' > "$copy/tokencollab/__init__.py"
cp -r tokencollab/policies tokencollab/protocol "$copy/tokencollab/"
for folder in unit/policies unit/protocol property/policies; do
    cp -r "tests/$folder" "$copy/tests/${folder%/*}/"
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
CONFIG
export PYTHONPATH=
# mutmut changes the bodies of functions, definitions.py what is outside of them.
(cd "$copy" && "$python" -m mutmut run --max-children "$(nproc)" "$@")
if (($# == 0)); then "$python" benchmarks/definitions.py "$copy"; fi
"$python" benchmarks/mutants_table.py "$copy"
