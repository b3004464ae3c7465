# make demo    the tutorial programs, then a real job, with the figures; FULL=1: all of its files
# make test    the whole suite, then a quick part of it without the native core
# make lint    style, types, direction of imports, C warnings
# make format  rewrite the sources in the style that lint wants
# make docs    build the site into build/site; a warning is an error
# make build   install the package, editable, into $(VENV)
# make clean   remove everything that these made
#
# make sanitize         the C core's own tests, and the Python tests of the ring, under sanitizers
# make fuzz             sequences of operations against a model: SECONDS=60
# make kills            processes killed at each step of the core, and at random: SECONDS=60
# make chaos            kill and disturb what runs, and count: SECONDS=60 ARGS="--seed 7 queue"
# make model            explore the ring's protocol, with a crash at every step
# make windows          a quick part of the suite on a Python for Windows, by Wine: ARGS="tests/pool"
# make package          source distribution and wheel into dist/, checked
# make manylinux        a wheel for any Linux with glibc 2.28 or later into dist/, by zig, checked
# make compat           the interpreter's own tests of multiprocessing, judged
# make pythons          a quick part of the suite on Debian's newest Pythons: ARGS="--version 3.15"
# make ray             the tests of pools on Ray, which is installed for that: some 200 MB
# make clients          real programs, compared with the standard library: ARGS="uvicorn --transport ring"
# make screenshots      the dashboard and a report, by Chromium, into build/screenshots
# make bench            against the peers, in an environment of its own (benchmarks/Makefile.inc)
#
# PYTHON=python3.13 VENV=.venv-3.13   another interpreter, beside the first
# ARGS="-k queue -x"                  passed on to pytest, the demo, compat or bench
# TINES_BUILD=debug|asan|tsan         see CONTRIBUTING.md
# TINES_NATIVE=off|require            without the native core, or not without it

PYTHON ?= python3
VENV ?= .venv
CC ?= cc
ARGS ?=

bin := $(VENV)/bin
native := $(wildcard native/platform/*.h native/platform/*/*.[ch] native/core/*.[ch] native/binding/*.[ch])
c_files := $(native) $(wildcard native/tests/*.[ch] native/fuzz/*.c benchmarks/*.c chaos/*.c)
strict_cc = $(CC) -std=c11 -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -pthread \
    -c -o /dev/null -I$(shell $(bin)/python -c '$(include_dir)')
include_dir = import sysconfig; print(sysconfig.get_path("include"))
# What the whole suite does with both transports by name is not done again.
without_native = -m "not slow" -k "not ring" \
    $(addprefix --ignore=tests/,benchmarks conformance native packaging)
pip := $(bin)/python -m pip --disable-pip-version-check --quiet install

export TINES_BUILD TINES_NATIVE

.DELETE_ON_ERROR:
.PHONY: build chaos clean clients compat demo docs FORCE format fuzz manylinux model package pythons ray sanitize screenshots windows
.PHONY: test test-full test-quick test-without-native
.PHONY: lint lint-c lint-imports lint-style lint-types

build: $(VENV)/dev.stamp

demo: $(VENV)/demo.stamp
	@echo && $(bin)/python examples/process_isolation.py
	@echo && $(bin)/python examples/process_results.py
	@echo && $(bin)/python examples/pool_of_three.py
	@$(bin)/python examples/standard_library_census.py $(if $(FULL),--full) $(ARGS)

test: test-full test-without-native

test-full: $(VENV)/dev.stamp
	$(bin)/python -m pytest $(ARGS)

test-without-native: $(VENV)/dev.stamp
	TINES_NATIVE=off $(bin)/python -m pytest $(without_native) $(ARGS)

test-quick: $(VENV)/dev.stamp
	$(bin)/python -m pytest -m "not slow" $(ARGS)

ray: $(VENV)/dev.stamp
	$(pip) --only-binary :all: 'ray>=2.9'
	$(bin)/python -m pytest tests/engines/test_ray.py $(ARGS)

lint: lint-style lint-types lint-imports lint-c

lint-style: $(VENV)/dev.stamp
	$(bin)/ruff check
	$(bin)/ruff format --check

lint-types: $(VENV)/dev.stamp
	$(bin)/mypy --strict src

lint-imports: $(VENV)/dev.stamp
	$(bin)/lint-imports

lint-c: $(VENV)/dev.stamp
	$(bin)/clang-format --dry-run -Werror $(c_files)
ifeq ($(shell uname),Linux)
	for file in $(filter %.c,$(native)); do $(strict_cc) $$file || exit 1; done
endif

format: $(VENV)/dev.stamp
	$(bin)/ruff check --fix-only
	$(bin)/ruff format
	$(bin)/clang-format -i $(c_files)

docs: $(VENV)/docs.stamp
	$(bin)/python -m sphinx -E -W --keep-going -q docs build/site
	@echo 'the site is in build/site: no warnings'

sanitize: $(VENV)/dev.stamp
	$(MAKE) -C native/tests sanitize
	$(bin)/python tests/native/under_asan.py $(ARGS)

# The schemas of the workflows are checked as well: nothing here can run them.
package: $(VENV)/package.stamp
	rm -rf dist
	$(bin)/python -m build --no-isolation --outdir dist
	$(bin)/twine check --strict dist/*
	$(bin)/check-wheel-contents dist/*.whl
	$(bin)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(bin)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(bin)/check-jsonschema --builtin-schema vendor.readthedocs .readthedocs.yaml

# zig has the symbols of every glibc; auditwheel refuses a wheel that needs a newer one. Built from
# the source distribution, so that no object file of another build gets into it.
glibc := 2.28
manylinux: $(VENV)/manylinux.stamp
	rm -rf build/manylinux
	CC="$(abspath $(bin))/python -m ziglang cc -target $(shell uname -m)-linux-gnu.$(glibc)" \
	    TINES_NATIVE=require $(bin)/python -m build --no-isolation --outdir build/manylinux
	PATH="$(abspath $(bin)):$$PATH" $(bin)/auditwheel repair --wheel-dir dist \
	    --plat manylinux_$(subst .,_,$(glibc))_$(shell uname -m) build/manylinux/*.whl

screenshots: $(VENV)/dev.stamp
	TINES_SCREENSHOTS=build/screenshots $(bin)/python -m pytest -q tests/insight/test_browser.py $(ARGS)

fuzz:
	$(MAKE) -C native/tests fuzz

kills: $(VENV)/dev.stamp
	$(bin)/python tests/native/kill_run.py --seconds $(or $(SECONDS),60) $(ARGS)

chaos: $(VENV)/dev.stamp
	$(bin)/python -m chaos --seconds $(or $(SECONDS),60) $(ARGS)

model:
	$(PYTHON) docs/design/model/ring_model.py --messages 1 1 --kills 4

compat: $(VENV)/dev.stamp
	$(bin)/python -m compat $(ARGS)

# The programs are installed in environments of their own, .venv-clients.
clients: $(VENV)/dev.stamp
	$(bin)/python -m clients $(ARGS)

# As root: each makes a Debian in a folder of the cache, once.
pythons:
	$(PYTHON) -m systems pythons $(ARGS)
windows: $(VENV)/systems.stamp
	$(bin)/python -m systems windows $(ARGS)

clean:
	rm -rf $(VENV) .venv-3.* .venv-clients build dist src/*.egg-info src/tines/_native*.so
	rm -rf .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find benchmarks chaos clients compat examples src systems tests -name __pycache__ -prune -exec rm -rf {} +
	$(MAKE) -C native/tests clean

# An environment is made anew when the interpreter changes, and the package is installed again when
# the build settings, the metadata or a C file do. A file of settings is rewritten only if it
# differs; what depends on it sees only its time. Environments of one interpreter share the module
# in src/, and so its settings. Build isolation would fetch setuptools from the network for each
# rebuild, so the environment has its own.

interpreter := $(shell $(PYTHON) -c 'import sys; print(sys.executable, *sys.version_info[:3])')
suffix := $(shell $(PYTHON) -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
settings := CC=$(CC) TINES_BUILD=$(TINES_BUILD) TINES_NATIVE=$(TINES_NATIVE)
module := src/tines/_native$(suffix)

$(VENV)/interpreter.stamp: FORCE
	@[ -n '$(interpreter)' ] || { echo 'PYTHON=$(PYTHON) does not run' >&2; exit 1; }
	@[ "$$(cat $@ 2>/dev/null)" = '$(interpreter)' ] || { \
	    echo 'new environment in $(VENV), from $(interpreter)'; \
	    $(PYTHON) -m venv --clear $(VENV) && $(pip) 'setuptools>=77' \
	    && echo '$(interpreter)' > $@; }

build/settings$(suffix): FORCE
	@mkdir -p build
	@[ "$$(cat $@ 2>/dev/null)" = '$(settings)' ] || echo '$(settings)' > $@

# A module of an earlier build must not outlive one that makes none.
$(VENV)/%.stamp: $(VENV)/interpreter.stamp build/settings$(suffix) pyproject.toml setup.py $(native)
	@rm -f $(module)
	$(pip) --no-build-isolation --editable '.[$*]'
	@[ -e $(module) ] || echo 'the native core was not built: tines will use its pipe transport'
	@touch $@

-include benchmarks/Makefile.inc
