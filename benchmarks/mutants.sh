#!/usr/bin/env bash
# Mutation tests of the pure core: tokencollab/policies and tokencollab/protocol, killed by their fast tests (docs/mutation.md).
# Usage: make mutants [MUTANTS='PATTERN ...'], e.g. MUTANTS='tokencollab.policies.bytewise*'; none: everything. Works on a
# copy in build/mutants and changes nothing here. What was killed is kept there and not tried again: remove the folder to
# begin anew. The unit tests come first, the property tests have what they leave. PYTHON: see requirements/mutants.txt.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
python=${PYTHON:-build/mutants-venv/bin/python}
[[ $python = /* ]] || python=$root/$python
copy=build/mutants
rm -rf "$copy/tests" "$copy/tokencollab" "$copy/original"
mkdir -p "$copy/tokencollab" "$copy/original" "$copy/tests/unit" "$copy/tests/property"
echo '"""Only the core is here: nothing of torch, transformers or ray is imported."""' > "$copy/tokencollab/__init__.py"
cp -r tokencollab/policies tokencollab/protocol "$copy/tokencollab/"
cp -r tokencollab/policies tokencollab/protocol "$copy/original/"
for folder in unit/policies unit/protocol property/policies; do
    cp -r "tests/$folder" "$copy/tests/${folder%/*}/"
done
cat > "$copy/tests/conftest.py" <<'CONFIG'
"""A mutant that fails a property is dead: no time for the smallest example. One test starts interpreters of its own."""

from hypothesis import Phase, settings

settings.register_profile("mutants", phases=(Phase.explicit, Phase.generate), deadline=None)
settings.load_profile("mutants")


def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if item.name != "test_nothing_depends_on_the_hash_seed"]
CONFIG
cat > "$copy/pyproject.toml" <<'CONFIG'
[tool.pytest.ini_options]
addopts = "--import-mode=importlib"
pythonpath = ["."]
[tool.mutmut]
source_paths = ["tokencollab"]
CONFIG
unset PYTHONPATH
if (($# == 0)); then "$python" benchmarks/mutants_definitions.py "$copy"; fi
for tests in tests/unit tests/property; do "$python" -m benchmarks.mutants_run "$copy" "$tests" "$@"; done
"$python" benchmarks/mutants_table.py "$copy"
