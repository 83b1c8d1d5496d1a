# make demo   encode a procedural clip (or VIDEO=path), decode a moving view, measure it; results in demo/
# make test   format, lint, types, tests; of OpenGL where libegl1, libgl1 and libgl1-mesa-dri are installed
# make test-browser   the player in Chromium, which must be installed
# make test-slow   what takes minutes, and rarer cases of both
# make fuzz   damaged and forged files for MINUTES, by default 3
# make soak   a server under fifty viewers for MINUTES, by default 1
# make docs   the documents and the API reference, in build/site
# make package   @nerv360/player for npm, in dist/npm
# make picture   docs/player.jpg, of demo's clip, in Chromium too
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed

.PHONY: demo test test-slow test-browser fuzz soak picture docs package clean

demo: $(INSTALLED)
	$(BIN)/python -m nerv360.demo demo $(if $(VIDEO),"$(VIDEO)")

test: $(INSTALLED)
	$(BIN)/ruff format --check src tests benchmarks core npm examples
	$(BIN)/ruff check src tests benchmarks core npm examples
	$(BIN)/mypy
	$(BIN)/pytest -q -n 2

test-slow: $(INSTALLED)
	$(BIN)/pytest -q -m slow

test-browser: $(INSTALLED)
	$(BIN)/pytest -q -n 3 -m 'browser and not slow'

fuzz: $(INSTALLED)
	$(BIN)/python tests/fuzz.py --minutes $(or $(MINUTES),3)

soak: $(INSTALLED)
	$(BIN)/python tests/soak.py --minutes $(or $(MINUTES),1)

picture: demo
	$(BIN)/python benchmarks/player/picture.py demo/clip.nerv360

docs: $(INSTALLED)
	$(BIN)/mkdocs build --quiet

package: $(INSTALLED)
	rm -rf dist/npm
	$(BIN)/python npm/build.py dist/npm

clean:
	rm -rf $(VENV) tests/web/node_modules demo build dist

$(INSTALLED): pyproject.toml constraints.txt tests/web/package-lock.json
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nerv360 needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	if command -v npm >/dev/null; then npm ci --silent --prefix tests/web || echo "no TypeScript: the player's types are not checked"; fi
	touch $@
