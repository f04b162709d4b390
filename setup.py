"""Package metadata. mmengine and the hosts are never required here: pip would lay the original
packages over an installed fork of the same import names."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
REPOSITORY = ""  # its address, once it has a public one: the links of the metadata follow from it
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "hiera_dense/__init__.py").read_text())[1]


def hosts(flavour: str) -> list[str]:
    """The packages of a stack; those of OpenMMLab in the versions that fit each other."""
    folder = ROOT / "requirements" / flavour
    pins = dict(re.findall(r"^(.+?)===?(.+)$", (folder / "constraints.txt").read_text(), re.M))
    names = re.findall(r"^[\w-]+$", (folder / "hosts.txt").read_text(), re.M)
    return [f"{name}=={pins[name]}" if re.match("(onedl-)?mm", name) else name for name in names]


class BuildWithRecipes(build_py):
    """Puts recipes and tools into the wheel, where the hosts and mim have theirs."""

    def run(self) -> None:
        shutil.rmtree(Path(self.build_lib) / "hiera_dense", ignore_errors=True)
        super().run()
        if self.editable_mode:  # they lie beside the package
            return
        place = Path(self.build_lib) / "hiera_dense" / ".mim"
        for folder in ("configs", "tools"):
            unwanted = shutil.ignore_patterns("__pycache__", "bench", "zoo", "site")
            shutil.copytree(ROOT / folder, place / folder, ignore=unwanted)
        shutil.copy(ROOT / "model-index.yml", place)


setup(
    name="hiera-dense",
    version=VERSION,
    description="Hiera as a backbone for detection and segmentation",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    author="The hiera_dense authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=[
        *("computer vision", "object detection", "instance segmentation", "semantic segmentation"),
        *("vision transformer", "Hiera", "MMDetection", "MMSegmentation"),
    ],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    url=REPOSITORY or None,
    project_urls={
        name: f"{REPOSITORY}/{place}"
        for name, place in {
            "Documentation": "blob/main/README.md",
            "Changelog": "blob/main/CHANGELOG.md",
            "Issues": "issues",
        }.items()
        if REPOSITORY
    },
    packages=find_packages(include=["hiera_dense*"]),
    package_data={"hiera_dense": ["py.typed"], "hiera_dense.report": ["*.html"]},
    entry_points={"console_scripts": ["hiera-dense = hiera_dense.__main__:main"]},
    cmdclass={"build_py": BuildWithRecipes},
    python_requires=">=3.11",
    install_requires=[
        "torch>=2.5",
        "timm>=1.0",
        "huggingface_hub>=0.30",
        "safetensors>=0.4",
        "filelock",
    ],
    extras_require={
        **{flavour: hosts(flavour) for flavour in ("onedl", "openmmlab")},
        "eval": ["faster-coco-eval"],
        "app": ["gradio>=6.17", "av"],
        "export": ["onnx", "onnxscript", "onnxruntime"],
        "video": ["av"],
    },
)
