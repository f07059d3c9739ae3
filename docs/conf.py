"""The documentation site: the same Markdown files that a reader of the repository sees, and the API from docstrings.

`make docs` builds it into site/, with warnings as errors. The reasons are in docs/adr/0020-documentation-site.md.
"""

import html
import importlib.metadata
import importlib.util
import re
import shutil
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

project = "artifactstore"
author = "the artifactstore authors"
release = version = importlib.metadata.version("artifactstore-actors")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]

# The source is the whole checkout, so that links between documents are the same here and there.
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "AGENTS.md",
    "protocols/README.md",
    "examples/README.md",
    "docs/**.md",
    "docs/api/*.rst",
]
exclude_patterns = [".*", "site", "dist", "var", "tests", "actors", "protocols/artifactstore_protocols"]
root_doc = "README"

myst_heading_anchors = 5
myst_fence_as_directive = ["mermaid"]

default_role = "py:obj"  # a name in backticks is a link where it is known, and code where it is not
suppress_warnings = [
    "ref.python",  # a short name that several modules have
    "misc.highlighting_failure",  # such as a command of psql among SQL: it is shown with fewer colours
]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_use_ivar = True
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"artifactstore {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_copy_source = False

MADE_BY_THE_LIBRARY = {
    "ActorContext",
    "AsyncioRegistry",
    "BlockingRegistry",
    "Harness",
    "Received",
    "Registry",
    "TaskHandle",
    "Tree",
}
NAVIGATION = """

```{toctree}
:hidden:
:caption: Use it

docs/TUTORIAL
docs/TOUR
docs/OPERATOR
docs/RULES
docs/how-to/naming-packages
docs/how-to/finding
docs/how-to/ingesting
docs/how-to/leaving-out
docs/how-to/metadata
docs/how-to/exporting
docs/how-to/reading-packages
docs/how-to/http-files
docs/how-to/http-writing
docs/how-to/http-push
docs/how-to/http-uploads
docs/how-to/remote
docs/how-to/pages
docs/how-to/keeping
docs/how-to/embedding
docs/how-to/ci
docs/how-to/tokens
docs/how-to/service-access
docs/how-to/postgresql
docs/how-to/backup
docs/how-to/verifying
docs/how-to/policies
docs/how-to/space
docs/how-to/collecting
docs/how-to/purging
docs/how-to/redacting
docs/how-to/http-api
docs/how-to/testing-actors
examples/README
protocols/README
```

```{toctree}
:hidden:
:caption: Understand it

docs/ARCHITECTURE-BLUEPRINT
docs/SUPERVISION
docs/reference/child-states
docs/reference/otp-cases
docs/PERFORMANCE
docs/ASSEMBLY-EXPERIMENT
docs/adr/README
```

```{toctree}
:hidden:
:caption: Reference

docs/reference/cli
docs/reference/settings
docs/reference/events
docs/reference/errors
docs/reference/metrics
docs/reference/doctor
docs/reference/modules
docs/api/index
docs/GLOSSARY
CHANGELOG
```

```{toctree}
:hidden:
:caption: The project

docs/PLATFORM-AMBITION
docs/ROADMAP
AGENTS
```
"""
DECISIONS = """

```{toctree}
:hidden:
:glob:

[0-9]*
```
"""


class Mermaid(Directive):
    """A diagram: drawn by a script, and readable as its source where there is none."""

    has_content: ClassVar[bool] = True

    def run(self) -> list[nodes.Node]:
        """Return the source, for the script to find."""
        source = html.escape("\n".join(self.content))
        return [nodes.raw("", f'<pre class="mermaid" role="img">{source}</pre>', format="html")]


def repair_names(_app: Sphinx, _what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Read backticks as the docstrings mean them: a name is a link wherever it is defined, the rest is code."""

    def marked_up(match: re.Match[str]) -> str:
        text, plural = match[1], match[2] or ""
        if re.fullmatch(r"[A-Za-z_][\w.]*", text):
            return f"`.{text}`{'\\ s' if plural else ''}"
        return f"``{text}``{plural}"

    lines[:] = [re.sub(r"(?<!`)`([^`]+)`(?!`)(s\b)?", marked_up, line) for line in lines]


def keep_colons(_app: Sphinx, what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Keep napoleon from taking what is before a colon for a type, where a value or a property is described."""
    if what in {"attribute", "data", "property"}:
        lines[:0] = ["..", ""]


def repair_raises(_app: Sphinx, _what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Keep a section on errors in its own words, where it is not a list of names with their reasons."""
    for start, line in enumerate(lines):
        if line.strip() == "Raises:":
            indent = len(line) - len(line.lstrip()) + 4
            end = start + 1
            while end < len(lines) and lines[end][:indent].isspace():
                end += 1
            items = [each for each in lines[start + 1 : end] if not each[indent].isspace()]
            if not all(re.match(r"[\w., ]+: \S", each[indent:]) for each in items):
                text = " ".join(each.strip() for each in lines[start + 1 : end])
                names = re.sub(r"(?<!`)\b([A-Z]\w+[a-z][A-Z]\w+)\b(?!`)", r"`\1`", text)
                lines[start:end] = ["", f":Raises: {names}"]
            return


def without_constructor(
    _app: Sphinx, _what: str, name: str, _object: object, _options: object, signature: str, returns: str | None
) -> tuple[str, str | None]:
    """Show no constructor of what only the library makes."""
    return ("", None) if name.rpartition(".")[2] in MADE_BY_THE_LIBRARY else (signature, returns)


def add_navigation(_app: Sphinx, name: str, content: list[str]) -> None:
    """Set the order of reading. The documents link to each other by themselves."""
    content[0] += {"README": NAVIGATION, "docs/adr/README": DECISIONS}.get(name, "")


def add_diagrams(app: Sphinx, _name: str, _template: str, context: dict[str, object], _tree: object) -> None:
    """Load what draws diagrams on pages that have some."""
    if '<pre class="mermaid"' in str(context.get("body", "")):
        app.add_js_file("mermaid.min.js", loading_method="defer")
        app.add_js_file("diagrams.js", loading_method="defer")


def add_front_page(app: Sphinx, error: Exception | None) -> None:
    """Let the site begin with the README under the name that servers look for."""
    if error is None:
        shutil.copyfile(app.outdir / "README.html", app.outdir / "index.html")


def skip_errors_of_protocols(
    app: Sphinx, _what: str, _name: str, member: object, _skip: bool, _options: object
) -> bool | None:
    """Leave an error that `artifactstore.errors` only passes on to the page of the module that defines it."""
    is_error = isinstance(member, type) and issubclass(member, BaseException)
    passed_on = is_error and member.__module__.startswith("artifactstore_protocols")
    return True if passed_on and app.env.docname == "docs/api/artifactstore" else None


def setup(app: Sphinx) -> None:
    """Join the above to Sphinx."""
    package = importlib.util.find_spec("artoo_mermaid")
    if package is None or package.origin is None:
        raise RuntimeError("artoo-mermaid is not installed; run make docs, which installs the group docs")
    app.config.html_static_path.append(str(Path(package.origin).parent / "assets" / "mermaid.min.js"))
    app.add_directive("mermaid", Mermaid)
    app.connect("autodoc-process-docstring", repair_names)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)
    app.connect("autodoc-process-docstring", repair_raises, priority=400)  # before napoleon reads the section
    app.connect("autodoc-process-signature", without_constructor)
    app.connect("autodoc-skip-member", skip_errors_of_protocols)
    app.connect("source-read", add_navigation)
    app.connect("html-page-context", add_diagrams)
    app.connect("build-finished", add_front_page)
