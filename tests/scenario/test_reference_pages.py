"""docs/config is what the option tables say: written anew and compared."""

from support import ROOT, run


def test_reference_pages_are_up_to_date(workdir):
    run(["bedrock", "--document", "pages"])
    run(["diaspora-ctl", "--document", "pages"])
    written = {path.name: path.read_text() for path in (workdir / "pages").glob("*.md")}
    committed = {path.name: path.read_text() for path in (ROOT / "docs" / "config").glob("*.md")}
    hint = "run: build/bin/bedrock --document docs/config; build/bin/diaspora-ctl --document docs/config"
    assert sorted(written) == sorted(committed), hint
    for name in written:
        assert written[name] == committed[name], f"docs/config/{name} is out of date; {hint}"
