# Names of what can be done; the work is in .ci/.

.PHONY: test build dist audit fuzz mutate chaos soak bench

# The whole gate: format, vet, staticcheck, all tests under the race detector. Installs redis-server and a C compiler when missing.
test:
	@.ci/test

# bin/linepay-worker, bin/linepayctl, bin/linepay-sandbox: static, with version, commit and date.
build:
	@.ci/build

# dist/: the three programs for linux/amd64 and linux/arm64, an archive each, and SHA256SUMS. The same commit gives the same bytes.
dist:
	@.ci/dist

# Known vulnerabilities, modules as published, go.mod tidy. Needs the network.
audit:
	@.ci/audit

# Every fuzz target for FUZZTIME (default 30s).
fuzz:
	@.ci/fuzz

# Real processes while everything fails, with 20,000 commands and a Redis that loses its memory: 20 to 30 minutes.
chaos:
	@.ci/chaos

# Takes out each branch of the guard, the publisher and the line in turn and shows that a test fails: about an hour.
mutate:
	@.ci/mutate

# The whole line in virtual time through N random schedules (default 100,000).
soak:
	@N=$(N) .ci/soak

# How fast the built worker is, beside a hand-written loop that promises nothing: about 20 minutes.
bench:
	@.ci/bench
