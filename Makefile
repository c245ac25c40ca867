# Names of what can be done; the work is in .ci/.

.PHONY: test build audit fuzz

# The whole gate: format, vet, staticcheck, all tests under the race detector. Installs redis-server and a C compiler when missing.
test:
	@.ci/test

# bin/linepay-worker, bin/linepayctl, bin/linepay-sandbox: static, with version, commit and date.
build:
	@.ci/build

# Known vulnerabilities, modules as published, go.mod tidy. Needs the network.
audit:
	@.ci/audit

# Every fuzz target for FUZZTIME (default 30s).
fuzz:
	@.ci/fuzz
