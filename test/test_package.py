"""The package installs whole, and what its files say about it agrees."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path

import pytest
import yaml

from depth_completion_ros.resources import share_directory

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "depth_completion_ros"
SHARED_FOLDERS = ("launch", "config", "models", "samples")

# Where an imported module comes from: its rosdep key, and its pip requirement. None: it comes with ROS only, or has no
# key that rosdep does not install with pip.
MODULES: dict[str, tuple[str | None, str | None]] = {
    "cv2": ("python3-opencv", "opencv-contrib-python-headless"),
    "numpy": ("python3-numpy", "numpy"),
    "rich": ("python3-rich", "rich"),
    "rosbags": (None, "rosbags"),
    "yaml": ("python3-yaml", "PyYAML"),
    "tf2_ros": ("tf2_ros_py", None),
}
OPTIONAL_MODULES = {
    "scipy",
    "h5py",
    "torch",
    "safetensors",
    "onnx",
    "onnxscript",
    "onnx_ir",
    "nncf",
    "moderngl",
    "openvino",
    "onnxruntime",
    "transformers",
    "pycuda",
    "jinja2",
    "distributed",
    "vl_convert",
}
REQUIREMENT_OF = {"vl_convert": "vl-convert-python"}  # where pip knows an optional module by another name
WITH_PYTORCH = {"triton"}  # its wheels for CUDA bring it


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


@pytest.fixture(scope="module")
def package_xml() -> ET.Element:
    return ET.parse(ROOT / "package.xml").getroot()


def shared_files(directory: Path) -> set[str]:
    found = {"package.xml"}
    for folder in SHARED_FOLDERS:
        found |= {
            path.relative_to(directory).as_posix()
            for path in (directory / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
    return found


def imported_modules() -> set[str]:
    modules = set()
    for path in [*(ROOT / PACKAGE).rglob("*.py"), *(ROOT / "launch").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules.add(str(node.module).split(".")[0])
    return modules - set(sys.stdlib_module_names) - {PACKAGE} - OPTIONAL_MODULES - WITH_PYTORCH


def requirements(text: str) -> set[str]:
    names = (re.match(r"[A-Za-z0-9_-]+", line) for line in text.split("\n"))
    return {name.group() for name in names if name}


def test_setup_cfg_and_package_xml_say_the_same(setup_cfg, package_xml):
    metadata = setup_cfg["metadata"]
    maintainer = package_xml.find("maintainer")
    assert metadata["name"] == package_xml.findtext("name") == PACKAGE
    assert metadata["license"] == package_xml.findtext("license") == "Apache-2.0"
    assert metadata["maintainer_email"] == maintainer.get("email")
    assert metadata["maintainer"] == maintainer.text
    assert metadata["url"] == package_xml.findtext("url")


def test_the_version_is_the_same_everywhere(setup_cfg, package_xml):
    """Including the newest section of the changelog, apart from Forthcoming."""
    version = setup_cfg["metadata"]["version"]
    assert package_xml.findtext("version") == version
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == version
    assert re.findall(r'^release = "(.*)"$', (ROOT / "docs" / "conf.py").read_text(encoding="utf-8"), re.MULTILINE) == [
        version
    ]
    sections = re.findall(
        r"^(\d+\.\d+\.\d+) \(.*\)\n-+$", (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sections[:1] == [version]


def test_the_citation_agrees_with_the_package(setup_cfg):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    metadata = setup_cfg["metadata"]
    assert (citation["license"], citation["url"]) == (metadata["license"], metadata["url"])


def test_no_dependency_is_a_key_that_rosdep_installs_with_pip(package_xml):
    """A build farm and an offline robot have no pip."""
    depends = [element.text for element in package_xml.iter() if element.tag.endswith("depend")]
    assert [name for name in depends if name.endswith("-pip")] == []


def test_package_xml_says_under_which_licences_the_recordings_are(package_xml):
    """Each licence file exists, and each recording's licence is among those that package.xml lists."""
    licences = {element.text: element.get("file") for element in package_xml.findall("license")}
    assert all((ROOT / file).is_file() for file in licences.values())
    notes = sorted((ROOT / "samples").glob("*/LICENSE.md"))
    assert len(notes) == 3
    for note in notes:
        (licence,) = re.findall(r"^- Licence: (\S+)$", note.read_text(encoding="utf-8"), re.MULTILINE)
        assert licence in licences, note


def test_nothing_that_the_node_needs_imports_rosbags():
    """It has no rosdep key, so a robot may lack it; only bags need it."""
    code = "import sys; sys.modules['rosbags'] = None; from depth_completion_ros.cli import main; "
    for command, status in (("node --help", 0), ("complete --help", 0), ("bag info samples/kinect", 1)):
        call = f"import sys; sys.exit(main({command.split()!r}))"
        done = subprocess.run(
            [sys.executable, "-c", code + call], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=60
        )
        assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    assert "pip install rosbags" in done.stderr


def test_the_maintainer_address_is_one_that_colcon_accepts(package_xml):
    """colcon takes a package with another one for plain Python, without a word."""
    address = package_xml.find("maintainer").get("email")
    assert re.fullmatch(r"[\w%+-]+(\.[\w%+-]+)*@[A-Za-z0-9%-]+(\.[A-Za-z0-9%-]+)*\.[A-Za-z]{2,}", address)


def test_colcon_builds_it_as_a_python_package(package_xml):
    assert package_xml.findtext("export/build_type") == "ament_python"
    assert (ROOT / "resource" / PACKAGE).is_file()


def test_python_requires_stays_out_of_setup_cfg(setup_cfg):
    """colcon evaluates what setup.cfg becomes as literals, and fails on that one."""
    assert "python_requires" not in setup_cfg["options"]


def test_everything_imported_is_a_declared_dependency(setup_cfg, package_xml):
    exec_depends = {element.text for element in package_xml.findall("exec_depend")}
    install_requires = requirements(setup_cfg["options"]["install_requires"])
    for module in sorted(imported_modules()):
        rosdep_key, requirement = MODULES.get(module, (module, None))
        assert rosdep_key in {None, *exec_depends}, f"{module} is imported: package.xml needs <exec_depend>{rosdep_key}"
        assert requirement is None or requirement in install_requires, f"{module}: setup.cfg needs {requirement}"


def test_optional_modules_are_in_an_extra(setup_cfg):
    extras = set().union(*(requirements(text) for text in setup_cfg["options.extras_require"].values()))
    assert extras >= {REQUIREMENT_OF.get(module, module) for module in OPTIONAL_MODULES}


def test_the_checkout_is_its_own_share_directory():
    assert share_directory() == ROOT


def installed_files() -> dict[str, bytes]:
    """What pip has put into this environment of the package, by path; empty where pip has not installed it.

    An editable installation also lists the files of the checkout, some of which may have moved since.
    """
    try:
        files = distribution(PACKAGE).files or []
    except PackageNotFoundError:
        return {}
    paths = {str(file): Path(str(file.locate())) for file in files if file.suffix != ".pyc"}
    return {name: path.read_bytes() for name, path in paths.items() if path.exists()}


@pytest.mark.skipif(not installed_files(), reason="the package is not installed by pip")
def test_a_missing_package_is_noticed_whatever_needs_it(tmp_path):
    """On copies of what pip keeps about the packages that are installed here."""
    for package in distributions():
        folder = Path(package._path)
        if folder.suffix == ".dist-info":
            shutil.copytree(folder, tmp_path / folder.name, dirs_exist_ok=True)
    own = next(tmp_path.glob(f"{PACKAGE}-*.dist-info"))
    (own / "RECORD").unlink()  # its files lie elsewhere

    def lacking(*extras: str) -> set[str]:
        code = f"import sys; sys.path.append({str(ROOT / 'tools')!r}); from installed import missing; "
        code += f"print(*missing(set({extras!r}), [{str(tmp_path)!r}]), sep='\\n')"
        listed = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8", timeout=60
        )
        return set(listed.stdout.split("\n")) - {""}

    assert lacking("evaluation") <= {"scipy<2,>=1.8"}
    for folder in [*tmp_path.glob("ruamel*.dist-info"), *tmp_path.glob("rich-*.dist-info")]:
        shutil.rmtree(folder)
    assert {re.match(r"[\w.]+", name).group() for name in lacking("evaluation")} - {"scipy"} == {"ruamel.yaml", "rich"}
    metadata = next(tmp_path.glob("numpy-*.dist-info")) / "METADATA"
    metadata.write_text(
        re.sub(r"^Version: .*", "Version: 0.1", metadata.read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    assert "numpy<3,>=1.22.4" in lacking("evaluation")
    shutil.rmtree(own)
    assert lacking("evaluation") == {PACKAGE}


def test_pip_installs_all_shared_files_and_they_are_found(tmp_path):
    """A normal installation, from a copy so that no build folder is left in the checkout.

    It leaves the environment of this test as it is: pip would uninstall the package from it but for --ignore-installed.
    """
    before = installed_files()
    pytest.importorskip("setuptools", minversion="71", reason="building without a network needs setuptools >= 71")
    source = tmp_path / "source"
    leave_out = shutil.ignore_patterns(".*", "build", "install", "log", "demo_out", "*.egg-info", "__pycache__", "test")
    shutil.copytree(ROOT, source, ignore=leave_out)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    prefix = tmp_path / "prefix"
    subprocess.run([*pip, "--ignore-installed", "--prefix", prefix, source], check=True, timeout=300)
    assert installed_files() == before

    code = next(prefix.rglob(f"{PACKAGE}/__init__.py")).parent.parent
    share = code.parents[2] / "share" / PACKAGE
    environment = {name: value for name, value in os.environ.items() if name != "AMENT_PREFIX_PATH"}
    found = subprocess.run(
        [sys.executable, "-c", f"from {PACKAGE}.resources import share_directory; print(share_directory())"],
        env=environment | {"PYTHONPATH": str(code)},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert found.stdout.strip() == str(share)
    assert shared_files(share) == shared_files(ROOT)
    assert (code / PACKAGE / "py.typed").is_file(), "type checkers look for it"
    template = "evaluation/html/template"
    assert {path.name for path in (code / PACKAGE / template).iterdir()} == {
        path.name for path in (ROOT / PACKAGE / template).iterdir()
    }
    marker = share.parent / "ament_index" / "resource_index" / "packages" / PACKAGE
    assert marker.is_file(), "ros2 finds a package by this file"
    assert {path.name for path in code.parents[2].glob("bin/*")} == {"completion_node", "depth-completion"}
    programs = list((code.parents[2] / "lib" / PACKAGE).iterdir())
    names = {"completion_node", "depth-completion", "evaluator"}
    assert {path.name for path in programs} == names, "ros2 run looks there"
    assert all(os.access(path, os.X_OK) for path in programs)
