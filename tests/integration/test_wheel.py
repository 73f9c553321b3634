"""The wheel: installed into an environment without this tree, it runs the models that it carries."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_runs_the_specialists_in_an_empty_environment(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT / "tokencollab", source / "tokencollab", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    dist, venv, elsewhere = tmp_path / "dist", tmp_path / "venv", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
    # As `make dist` does it: the wheel is made of what the source archive has.
    dist.mkdir()
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run(sys.executable, "-c", build, dist, cwd=source)
    (archive,) = dist.glob("*.tar.gz")
    run(*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", dist, archive, cwd=elsewhere)
    (wheel,) = dist.glob("*.whl")
    packed = {name for name in ZipFile(wheel).namelist() if not name.endswith("/")}
    here = {
        path.relative_to(source).as_posix()
        for path in (source / "tokencollab").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert here <= packed
    assert not {name for name in packed - here if ".dist-info/" not in name}
    assert any(name.endswith("/LICENSE") for name in packed)

    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=elsewhere)
    python = venv / "bin" / "python"
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=elsewhere)
    # The dependencies are those of this environment; its own .pth files, with the editable tokencollab, are not read.
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(venv), "platbase": str(venv)}))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert Path(run(python, "-c", "import tokencollab; print(tokencollab.__file__)", cwd=elsewhere).strip()) == (
        site / "tokencollab" / "__init__.py"
    )
    command = ("generate", "20+4*11+0-25*13", "--base", "arith-bytes", "--with", "arith-pairs", "--method", "consult")
    assert run(venv / "bin" / "tokencollab", *command, cwd=elsewhere).strip().endswith("answer -261")
