# Each target sets up what it needs on Debian 12 with rustup's cargo and root (or sudo).
PG_CONFIG ?= pg_config

.PHONY: demo test conformance soak bench install clean

demo: ; @tests/bin/demo $(ARGS)
test: ; @tests/bin/test
conformance: ; @tests/bin/conformance $(ARGS)
soak: ; @tests/bin/soak
bench: ; @tests/bin/bench $(ARGS)

# For a server of your own: make install PG_CONFIG=/usr/lib/postgresql/15/bin/pg_config
install: ; @tests/bin/install "$(PG_CONFIG)"

clean: ; @tests/bin/clean
