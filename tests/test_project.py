"""The project's own files."""

import re
import tomllib

from .conftest import ROOT


def test_continuous_integration_runs_the_readmes_test_command():
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    assert "make demo" in readme
    assert "make test" in readme
    assert ci.strip().splitlines()[-1] == "make test"


def test_the_dockerfile_runs_tlkit_as_a_user_that_is_not_root():
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER tlkit$", text, re.M)
    assert text.index("USER tlkit") < text.index('ENTRYPOINT ["tlkit"]')
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.M)
    assert all((ROOT / name).exists() for line in copied for name in line.split())


def test_no_extra_holds_what_breaks_the_environment():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    everything = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    assert not [d for d in everything if d.startswith(("tflite-runtime", "tensorrt", "tensorflow-cpu"))]


def test_every_link_of_the_readme_leads_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target
