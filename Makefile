# tcpmux: "make help" says what there is. Whatever is built is below build/.

VERSION ?= $(shell sed -n '1s/^tcpmux (\(.*\)) .*/\1/p' packaging/changelog)
FUZZTIME ?= 100000x
FUZZ_INPUTS ?= 20000
PREFIX   ?= /usr/local
SUITE    ?= bookworm trixie
KTLS_SUITE ?= $(SUITE)
# How many packages "make test" tests at the same time: more than there are processors, as many tests wait.
TEST_PACKAGES ?= $(shell echo $$(($$(nproc) * 2)))
# And how many tests of one package that may run at the same time.
TEST_PARALLEL ?= $(TEST_PACKAGES)
# They begin first, so that no processor is idle while the last one ends.
LONGEST := ./cmd/tcpmux ./cmd/tcpmux-forward ./daemon/handover ./daemon ./daemon/session
export KTLS_BUILD ?= $(CURDIR)/build/ktls
GO       ?= go

TOOLS := $(CURDIR)/build/tools
# See daemon/signals: without it a signal can end the daemon while it starts.
ENTRY := -E tcpmux/daemon/signals.entry
# The control socket speaks no HTTP/2, which is half a megabyte.
TAGS  := -tags nethttpomithttp2
LINK   = -s -w -X tcpmux/cmd/internal/cli.version=$(VERSION)

# Of the machine that the package is for: "make deb GOARCH=arm64" and "GOARCH=arm64 make deb" are the same.
export GOARCH ?= $(shell $(GO) env GOARCH)
export ARCH = $(patsubst arm,arm$(or $(GOARM),$(shell GOARCH=arm $(GO) env GOARM)),$(GOARCH))
# contrib/bench has modules in Python.
export PYTHONDONTWRITEBYTECODE = 1
# Every time stamp in the package, so that the same source gives the same bytes.
export SOURCE_DATE_EPOCH ?= $(shell date -d "$$(sed -n 's/^ -- .*>  //p' packaging/changelog | head -n 1)" +%s)
export VERSION
# Which versions of tcpmux a forwarder works with: those with the same two numbers, from 0.3 to before 0.4.
export SERIES = $(basename $(VERSION))
export NEXT_SERIES = $(shell echo $(SERIES) | awk -F. '{print $$1 "." $$2 + 1}')

.PHONY: help build run test nats fuzz fuzz-fixed lint vuln docs deb rpm cross e2e-parts e2e-roots e2e e2e-ktls bench bench-growth bench-latency bench-tls bench-proxy bench-mux bench-go bench-shared bench-smoke figures install clean

help: ## what each target does
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 20

build: ## build/tcpmux, build/tcpmux-forward and build/tcpmux-bench, static binaries
	CGO_ENABLED=0 $(GO) build $(TAGS) -trimpath -buildvcs=false -ldflags '$(LINK) $(ENTRY)' -o build/tcpmux ./cmd/tcpmux
	CGO_ENABLED=0 $(GO) build $(TAGS) -trimpath -buildvcs=false -ldflags '$(LINK)' -o build/tcpmux-forward ./cmd/tcpmux-forward
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LINK)' -o build/tcpmux-bench ./cmd/tcpmux-bench

run: build ## serve on 127.0.0.1:12345 and show the records as they come; Ctrl-C ends it
	@packaging/run build/tcpmux

test: nats ## vet, and all tests under the race detector (as root it installs what they need)
	packaging/need gcc:gcc /usr/include/stdlib.h:libc6-dev python3:python3 ip:iproute2 /usr/sbin/logrotate:logrotate promtool:prometheus chromium:chromium \
		openssl:openssl curl:curl gnutls-cli:gnutls-bin socat:socat haproxy:haproxy
	CGO_ENABLED=0 $(GO) vet ./...
	CGO_ENABLED=1 $(GO) test -race -vet=off -p $(TEST_PACKAGES) -parallel $(TEST_PARALLEL) -timeout 30m $(LONGEST) ./...

nats: $(TOOLS)/nats-server $(TOOLS)/nats-server-2.10 ## the NATS servers that tests run: Debian's 2.9 and two newer ones
	packaging/need /usr/sbin/nats-server:nats-server

fuzz-fixed: ## every fuzz target with its seeds, and FUZZ_INPUTS=20000 inputs that are the same each time
	FUZZ_INPUTS=$(FUZZ_INPUTS) CGO_ENABLED=0 $(GO) test -vet=off -count 1 -run '^Fuzz' \
		$$(grep -rl '^func Fuzz' --include='*_test.go' --exclude-dir=build . | xargs -n 1 dirname | sort -u)

fuzz: ## every fuzz target for FUZZTIME=100000x inputs (or 5m)
	packaging/fuzz $(FUZZTIME)

lint: $(TOOLS)/staticcheck ## gofmt, vet, staticcheck, and shellcheck where it is installed
	packaging/lint

vuln: $(TOOLS)/govulncheck ## known vulnerabilities in what tcpmux calls
	packaging/vuln

docs: ## build/docs: manual pages and shell completions
	packaging/docs $(VERSION)

deb: build docs $(TOOLS)/nfpm ## build/tcpmux_VERSION_ARCH.deb, and those of tcpmux-forward and tcpmux-bench
	gzip -9n <packaging/changelog >build/changelog.gz
	set -e; for program in forward bench; do \
		sed "s/^tcpmux (/tcpmux-$$program (/" packaging/changelog | gzip -9n >build/changelog-$$program.gz; \
	done
	$(TOOLS)/nfpm package --config packaging/nfpm.yaml --packager deb --target build
	$(TOOLS)/nfpm package --config packaging/nfpm-forward.yaml --packager deb --target build
	$(TOOLS)/nfpm package --config packaging/nfpm-bench.yaml --packager deb --target build

rpm: build docs $(TOOLS)/nfpm ## build/tcpmux-VERSION-1.ARCH.rpm, and those of the others, from the same recipes
	$(TOOLS)/nfpm package --config packaging/nfpm.yaml --packager rpm --target build
	$(TOOLS)/nfpm package --config packaging/nfpm-forward.yaml --packager rpm --target build
	$(TOOLS)/nfpm package --config packaging/nfpm-bench.yaml --packager rpm --target build

cross: ## build/cross: packages for arm64, armhf and i386, and what can be tried of them here
	packaging/cross

# What is installed and tried in the suites: this version with its forwarder, the last one, as 0.0.1, and one that can be crashed.
e2e-parts:
	rm -rf build/e2e && mkdir -p build/e2e/last
	tar -xzf packaging/e2e/last-version.tar.gz -C build/e2e/last
	$(MAKE) -C build/e2e/last deb VERSION=0.0.1 TOOLS=$(TOOLS)
	mv build/e2e/last/build/tcpmux_0.0.1_$(ARCH).deb build/e2e/old.deb
	$(MAKE) deb && cp build/tcpmux_$(VERSION)_$(ARCH).deb build/e2e/new.deb
	cp build/tcpmux-forward_$(VERSION)_$(ARCH).deb build/e2e/forward.deb
	CGO_ENABLED=0 $(GO) build -tags crashtest -ldflags '$(ENTRY)' -o build/e2e/crashing ./cmd/tcpmux

# What the machines of e2e and e2e-ktls are made of. It is kept, and made again when it has to be.
e2e-roots:
	packaging/need mmdebstrap:mmdebstrap ip:iproute2 unshare:util-linux flock:util-linux cpio:cpio xz:xz-utils /usr/sbin/depmod:kmod
	set -e; made=; for suite in $(SUITE); do \
		RIG_SUITE=$$suite packaging/e2e/boot.sh rootfs & made="$$made $$!"; \
		KTLS_SUITE=$$suite packaging/ktls/vm.sh kernel & made="$$made $$!"; \
	done; \
	for one in $$made; do wait $$one; done

e2e: e2e-parts e2e-roots ## the package on systemds booted in namespaces, of Debian SUITE="bookworm trixie"; as root, installs what it needs; E2E_VISITS=60s for longer load
	set -e; for suite in $(SUITE); do \
		echo "the package on Debian $$suite"; \
		rm -rf build/e2e/journal && mkdir build/e2e/journal; \
		RIG_SUITE=$$suite $(GO) test -tags e2e -count 1 -timeout 30m -parallel 6 ./packaging/e2e; \
	done

e2e-ktls: build ## what needs kernel TLS, on kernels of Debian in QEMU; as root, installs what it needs; KTLS_SUITE=trixie, KTLS_MODULE=loaded, KTLS_RUN=TestName, KTLS_KILLS=100
	packaging/need qemu-system-x86_64:qemu-system-x86 mmdebstrap:mmdebstrap flock:util-linux cpio:cpio xz:xz-utils /usr/sbin/depmod:kmod
	mkdir -p $(KTLS_BUILD)
	CGO_ENABLED=0 $(GO) test -c -tags ktlsguest -o $(KTLS_BUILD)/guest.test ./packaging/ktls/guest
	set -e; made=; for suite in $(KTLS_SUITE); do \
		KTLS_SUITE=$$suite packaging/ktls/vm.sh image $(KTLS_BUILD)/guest.test build/tcpmux build/tcpmux-forward build/tcpmux-bench & made="$$made $$!"; \
	done; \
	for one in $$made; do wait $$one; done
	KTLS_SUITE="$(KTLS_SUITE)" $(GO) test -tags ktls -count 1 -v -timeout 60m -run '^TestGuests$$' ./packaging/ktls

bench: build ## contrib/bench/RESULTS.md, and the table and plot of README.md: tcpmux, its parent commit, the floor and its peers; RUNS=5, SCALE=1, ONLY=tcpmux,socat, BASE=none or a commit, WHAT="greet lines"
	packaging/need gcc:gcc /usr/include/stdlib.h:libc6-dev python3:python3 ip:iproute2
	packaging/need tcpserver:ucspi-tcp socat:socat ncat:ncat /usr/sbin/xinetd:xinetd /usr/sbin/rsyslogd:rsyslog || echo "those are left out" >&2
	contrib/bench/bench.py --bin build/tcpmux --base "$(or $(BASE),HEAD^)" --runs $(or $(RUNS),5) --scale $(or $(SCALE),1) $(if $(ONLY),--only "$(ONLY)") --json build/bench.json \
		$(if $(ONLY)$(WHAT),,--markdown contrib/bench/RESULTS.md) $(WHAT)
	$(if $(ONLY)$(WHAT),,contrib/bench/readme.py)

bench-growth: build ## the section Growth of it, with plots: over clients, files, listeners and time; RUNS=3, SCALE=1, SECONDS=3600 (memory), WHAT="clients file backups listeners start memory", ADD=JSON of another run
	packaging/need gcc:gcc /usr/include/stdlib.h:libc6-dev python3:python3 taskset:util-linux
	contrib/bench/growth.py --bin build/tcpmux --runs $(or $(RUNS),3) --scale $(or $(SCALE),1) --seconds $(or $(SECONDS),3600) --json build/growth.json \
		$(if $(ADD),--add $(ADD)) $(if $(ADD)$(if $(WHAT),,all),--results contrib/bench/RESULTS.md) $(WHAT)

bench-latency: build ## the section Latency of it: from send to record, and to acknowledgement; RUNS=5, SCALE=1, ONLY=tcpmux,socat, BASE=none or a commit, WHAT="record ack"
	packaging/need gcc:gcc /usr/include/stdlib.h:libc6-dev python3:python3
	packaging/need tcpserver:ucspi-tcp socat:socat ncat:ncat /usr/sbin/xinetd:xinetd /usr/sbin/rsyslogd:rsyslog || echo "those are left out" >&2
	contrib/bench/latency.py --bin build/tcpmux --base "$(or $(BASE),HEAD^)" --runs $(or $(RUNS),5) --scale $(or $(SCALE),1) $(if $(ONLY),--only "$(ONLY)") \
		--json build/latency.json $(if $(ONLY)$(WHAT),,--markdown contrib/bench/RESULTS.md) $(WHAT)

bench-tls: build ## the section TLS of it: tcpmux, crypto/tls alone, stunnel and socat; RUNS=5, WHAT="handshakes idle messages"
	packaging/need gcc:gcc /usr/include/stdlib.h:libc6-dev python3:python3 openssl:openssl
	packaging/need stunnel4:stunnel4 socat:socat || echo "those are left out" >&2
	contrib/bench/tls.py --bin build/tcpmux --load build/tcpmux-bench --runs $(or $(RUNS),5) \
		$(if $(WHAT),,--results contrib/bench/RESULTS.md) $(WHAT)

bench-proxy: build ## the section Proxy of it: tcpmux, haproxy in TCP mode and socat; RUNS=5, WHAT="bulk exchanges visits"
	packaging/need python3:python3 /usr/sbin/haproxy:haproxy socat:socat
	contrib/bench/proxy.py --bin build/tcpmux --runs $(or $(RUNS),5) \
		$(if $(WHAT),,--results contrib/bench/RESULTS.md) $(WHAT)

bench-mux: build ## the section Mux of it: what a mux adds to a visit; RUNS=11
	packaging/need gcc:gcc /usr/include/stdlib.h:libc6-dev python3:python3
	contrib/bench/mux.py --bin build/tcpmux --runs $(or $(RUNS),11) --results contrib/bench/RESULTS.md

bench-go: ## framing, encoding and sink by themselves, with their allocations
	$(GO) test -run '^$$' -bench . -benchmem ./daemon/framing ./daemon/record ./daemon/sink ./daemon/worker

bench-shared: ## what all clients share, with 1 and 2 processors: contrib/bench/SCALE.md says what follows from it
	$(GO) test -run '^$$' -bench 'Buffers|Spill|Gather|Enter|Recorded|Slot|Take|Add|Enlist|Maintain|Overdue|Place|Register|Ready|Wake' -cpu 1,2 -benchtime 20ms -count 7 \
		./daemon/session ./daemon/sink ./daemon/admission ./daemon/counts ./daemon/state ./daemon/ring ./daemon/server ./daemon/conn
	$(GO) test -run '^$$' -bench 'Accept|Clients' -cpu 2 -benchtime 5x -count 7 ./daemon/server

bench-smoke: build ## a second of each measurement, and the tests of what measures: no client may fail, no record may be lost
	packaging/need gcc:gcc /usr/include/stdlib.h:libc6-dev python3:python3 ip:iproute2 git:git taskset:util-linux
	contrib/bench/test_bench.py
	contrib/bench/bench.py --bin build/tcpmux --smoke --only tcpmux --base none --runs 1 --scale 0.02
	contrib/bench/latency.py --bin build/tcpmux --smoke --only "tcpmux goroutine" --base-bin build/tcpmux --runs 1 --scale 0.02
	contrib/bench/growth.py --bin build/tcpmux --smoke --runs 1 --scale 0.0002
	contrib/bench/mux.py --bin build/tcpmux --runs 1 --scale 0.02

figures: ## the shape of the code: sizes of packages, files and functions, and the files that one message passes
	@$(GO) run ./internal/figures

install: build ## the daemon's binary alone, into DESTDIR and PREFIX=/usr/local
	install -D -m 0755 build/tcpmux $(DESTDIR)$(PREFIX)/bin/tcpmux

clean: ## remove build/
	rm -rf build

# An older server needs older packages, and so a module of its own.
$(TOOLS)/nats-server-2.10: packaging/tools/nats-2.10/go.mod packaging/tools/nats-2.10/go.sum
	cd packaging/tools/nats-2.10 && env -u GOOS -u GOARCH CGO_ENABLED=0 $(GO) build -trimpath -o $@ github.com/nats-io/nats-server/v2

# The versions are those of packaging/tools/go.mod, a module of its own: what we need to build is no part of what we ship.
$(TOOLS)/%: packaging/tools/go.mod packaging/tools/go.sum
	cd packaging/tools && env -u GOOS -u GOARCH CGO_ENABLED=0 GOBIN=$(TOOLS) $(GO) install -trimpath tool
	@touch $(TOOLS)/*
