# make help lists the targets.

GO       ?= go
# The race detector needs a C compiler; "make test RACE=" does without.
RACE     ?= -race
SEEDS    ?= 200
ORDERS   ?= 100000
PURCHASES ?= 100000
# Versions of Apache Kafka; empty for all of testdata/apachekafka.
BROKERS  ?=
FUZZTIME ?= 30s
BENCHED  ?= ./...
# What make release builds, and where to.
VERSION  ?=
DIST     ?= dist

# Built with the Go at hand; its first run compiles it, the results of others are cached.
GOLANGCI_LINT = $(PLAIN) $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
# Where closeorder must build. linux/386 is for the integers of 32 bits. What is
# compiled for Linux on 64 bits is what lint has vetted. -trimpath as make build
# has it, which finds its own packages compiled.
CROSS = linux/amd64 linux/arm64 linux/386 darwin/arm64 windows/amd64

# What needs no race detector is compiled as make build does, and so only once.
PLAIN = CGO_ENABLED=0 GOFLAGS="$$($(GO) env GOFLAGS) -trimpath"

GOTEST = GO=$(GO) .ci/gotest $(RACE) -timeout 30m $(TESTFLAGS)

# Build tags that tests may carry: apachekafka needs Java and Maven, chaos takes long besides, examples needs
# Python, Node, Java and Maven, brokers fetches ten versions of Apache Kafka.
ALL_TAGS = apachekafka,chaos,examples,brokers

.DEFAULT_GOAL := help
.PHONY: index-bench help lint-chart tidy modules-check tour build test test-allocations test-apache-kafka test-chaos test-examples rebalances sim test-money shops check lint cross bench-check shop-check chart-check manifests fmt fuzz bench benchmarks docker release release-check release-test clean test-brokers browser-test

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## a static binary, bin/closeorder
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/closeorder ./cmd/closeorder

test: ## all tests, those on a real Apache Kafka too where Java 17 and Maven are
	@if why=$$($(PLAIN) $(GO) run ./internal/apachekafka/available 2>&1); then \
		$(PLAIN) $(GO) run ./internal/apachekafka/available fetch && \
		$(GOTEST) -tags apachekafka ./...; \
	else \
		why=$$(echo "$$why" | grep -v '^exit status'); \
		status=0; $(GOTEST) ./... || status=$$?; \
		echo; \
		echo "*** LEFT OUT: the tests on a real Apache Kafka."; \
		echo "$$why" | sed 's/^/***   /'; \
		case "$${CI:-}:$${CLOSEORDER_REQUIRE_APACHE_KAFKA:-}" in \
			true:*|*:1|*:true) echo "*** That is an error here: CI=true or CLOSEORDER_REQUIRE_APACHE_KAFKA=1."; exit 1;; \
		esac; \
		exit $$status; \
	fi

test-allocations: ## the tests that count what is allocated, without the race detector, which allocates itself
	@files=$$(grep -rlE '^//go:build !race$$' --include='*_test.go' .); \
	packages=$$(for file in $$files; do dirname $$file; done | sort -u); \
	tests=$$(sed -n 's/^func \(Test[A-Za-z0-9_]*\)(t .*/\1/p' $$files /dev/null | paste -sd '|' -); \
	test -n "$$tests" || { echo "no test has the build tag !race"; exit 1; }; \
	$(PLAIN) $(GO) test -count=1 -timeout 20m $(TESTFLAGS) -run "^($$tests)$$" $$packages

test-apache-kafka: ## only the packages with tests on a real Apache Kafka; fails where there is none
	@$(PLAIN) $(GO) run ./internal/apachekafka/available fetch
	@packages=$$(for file in $$(grep -rl '^//go:build apachekafka$$' --include='*_test.go' .); do dirname $$file; done | sort -u); \
	test -n "$$packages" || { echo "no test has the build tag apachekafka"; exit 1; }; \
	$(GOTEST) -count=1 -tags apachekafka $$packages

test-chaos: ## the long tests: brokers and workers killed again and again on a real Apache Kafka
	@$(PLAIN) $(GO) run ./internal/apachekafka/available fetch
	@packages=$$(for file in $$(grep -rl '^//go:build .*chaos' --include='*_test.go' .); do dirname $$file; done | sort -u); \
	test -n "$$packages" || { echo "no test has the build tag chaos"; exit 1; }; \
	$(GO) test $(RACE) -timeout 2h -count=1 -v $(TESTFLAGS) -tags $(ALL_TAGS) -run Chaos $$packages

test-brokers: ## the same story on each version of Apache Kafka from 0.11 on, a minute each: BROKERS="1.1.1 2.8.2" for some
	@$(PLAIN) $(GO) run ./internal/apachekafka/available fetch $(or $(BROKERS),$$($(PLAIN) $(GO) run ./internal/apachekafka/available versions))
	CLOSEORDER_BROKERS="$(BROKERS)" $(PLAIN) $(GO) test -timeout 1h -count=1 -p 1 -v $(TESTFLAGS) -tags apachekafka,brokers \
		-run '^(TestBrokers|TestAnUpgradedCluster|TestApacheKafkasOldFormatsAreRead)$$' ./internal/crashtest ./internal/kafka

test-examples: ## the order services of examples: the shop on SQLite and PostgreSQL, the clients in Python, Java and Node
	cd examples/shop && $(GO) test $(RACE) -timeout 20m -count=1 $(TESTFLAGS) ./...
	@packages=$$(for file in $$(grep -rl '^//go:build examples$$' --include='*_test.go' .); do dirname $$file; done | sort -u); \
	test -n "$$packages" || { echo "no test has the build tag examples"; exit 1; }; \
	$(GO) test $(RACE) -timeout 20m -count=1 $(TESTFLAGS) -tags examples $$packages

browser-test: ## the console in a real browser, by internal/browsertest, a module of its own: go mod tidy and its stories; Debian's chromium, fonts-noto-cjk, npm; screenshots in bin/screenshots
	cd internal/browsertest && $(GO) mod tidy -diff && $(GO) test -vet=off -timeout 15m -count=1 $(TESTFLAGS) ./...

rebalances: ## what a death, a join, a leave, a rolling restart and scaling cost, 20 min on a quiet machine: ARGS="-plays scaling -binary old=PATH,now=PATH -ids dynamic -json FILE -plot FILE -with FILE -session 45s"
	@$(PLAIN) $(GO) run ./internal/apachekafka/available fetch
	@$(GO) test -C internal/crashtest -timeout 2h -count=1 -tags $(ALL_TAGS) -run '^TestRebalances$$' -args $(ARGS)

sim: ## a world in virtual time with faults from seeds: SEEDS=200, or SEED=N for one
	@$(GO) test -list '^TestSeeds$$' ./internal/world | grep -qx TestSeeds || { echo "internal/world has no TestSeeds"; exit 1; }
	CLOSEORDER_SIM_SEEDS=$(SEEDS) CLOSEORDER_SIM_SEED=$(SEED) \
		GO=$(GO) .ci/gotest $(RACE) -timeout 2h -count=1 -v $(TESTFLAGS) -run '^Test(Harsh)?Seeds(ExactlyOnce)?$$' ./internal/world

test-money: ## ORDERS=100000 with every fault of the gateway, against its order book; without the race detector, which makes it take hours
	@$(GO) test -list '^TestNoOutcomeDisagreesWithTheOrderBook$$' ./internal/world | grep -q TestNo || { echo "internal/world has no such test"; exit 1; }
	CLOSEORDER_SIM_ORDERS=$(ORDERS) \
		$(GO) test -timeout 2h -count=1 -v $(TESTFLAGS) -run '^TestNoOutcomeDisagreesWithTheOrderBook$$' ./internal/world

shops: ## PURCHASES=100000 for each shop of docs/order-services.md, of a thousand in a world (below 10000 of 300): sums the money, and prints the table
	@$(GO) test -list '^TestNobodyPaysTwice$$' ./internal/world | grep -q TestNo || { echo "internal/world has no such test"; exit 1; }
	@$(GO) test -c -o bin/world.test ./internal/world
	@cd internal/world && CLOSEORDER_SIM_PURCHASES=$(PURCHASES) CLOSEORDER_SHOPS_TABLE=../../bin/shops.md \
		../../bin/world.test -test.timeout 3h -test.run '^TestNobodyPaysTwice$$' $(TESTFLAGS); \
	status=$$?; cat ../../bin/shops.md; exit $$status

check: tidy modules-check lint lint-chart cross ## gofmt, go mod tidy, the modules of their own, lint and cross: all must have nothing to say

tidy: ## gofmt and go mod tidy, which must have nothing to change
	@unformatted=$$(gofmt -l .) && test -z "$$unformatted" || { echo "make fmt would change:"; echo "$$unformatted"; exit 1; }
	$(GO) mod tidy -diff

modules-check: bench-check shop-check chart-check release-test ## modules of their own: bench-check, shop-check, chart-check and release-test; browser-test is by itself

# What lint vets is not vetted here again.
bench-check: ## the lab of make bench, a module of its own: go mod tidy, build, vet for macOS and its tests
	cd internal/bench && export $(PLAIN) && $(GO) mod tidy -diff && GOOS=darwin GOARCH=arm64 $(GO) vet . && $(GO) build -o /dev/null . && $(GO) test -vet=off ./...

shop-check: ## examples/shop, a module of its own: go mod tidy, build and vet for macOS
	cd examples/shop && export $(PLAIN) && $(GO) mod tidy -diff && GOOS=darwin GOARCH=arm64 $(GO) vet . && $(GO) build -o /dev/null .

chart-check: ## deploy/chart, manifests and compose files, by internal/chart, a module of its own: go mod tidy and its tests, without vet, which lint has; they run the rendered pod where they are root on Linux
	cd internal/chart && export $(PLAIN) && $(GO) mod tidy -diff && $(GO) test -vet=off -count=1 ./...

manifests: ## writes deploy/kubernetes, and in deploy/chart the schema, the table of values, rules and dashboard
	cd internal/chart && $(GO) test -vet=off -count=1 -run 'TestTheFiles|TestTheSchema|TestTheReadme|TestThePlainManifests' . -update

lint: ## golangci-lint, as .golangci.yml says: go vet and staticcheck, more of the kind, and who may import what
	$(GOLANGCI_LINT) run ./...
	cd internal/bench && $(GOLANGCI_LINT) run ./...
	cd examples/shop && $(GOLANGCI_LINT) run ./...
	cd internal/release && $(GOLANGCI_LINT) run ./...
	cd internal/browsertest && $(GOLANGCI_LINT) run ./...

lint-chart: ## golangci-lint of internal/chart, whose libraries are 900 packages to read: minutes, where nothing is cached
	cd internal/chart && $(GOLANGCI_LINT) run ./...

cross: ## builds for Linux, macOS, Windows and 32 bits, and vets, tests too, where lint has not: CROSS="linux/386 ..."
	@set -e; for target in $(CROSS); do \
		echo "== $$target"; \
		export CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/}; \
		$(GO) build -trimpath -o /dev/null ./cmd/closeorder; \
		case $$target in linux/*64) ;; *) $(GO) vet -trimpath ./...;; esac; \
	done

fmt: ## gofmt all files
	gofmt -w .

fuzz: ## every fuzz target for FUZZTIME=30s each
	@set -e; found=; \
	for file in $$(grep -rl '^func Fuzz' --include='*_test.go' .); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$file); do \
			found=yes; echo "== $$(dirname $$file) $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$(dirname $$file); \
		done; \
	done; \
	test -n "$$found" || { echo "no fuzz target found"; exit 1; }

index-bench: ## fills and searches the index of the console, in a process of its own: REQUESTS=1000000
	REQUESTS=$(REQUESTS) $(GO) test ./internal/index -run '^$$' -bench AMillionRequests -benchtime 1x -timeout 30m

bench: build ## beside workers that others would write, 18 min on a quiet machine, and held to internal/bench/baseline.json: ARGS="-scenarios burst -rounds 5 -over http -json FILE -plot FILE -binary before=PATH,now=PATH"
	@$(GO) build -C internal/bench -trimpath -o ../../bin/bench .
	@bin/bench $(ARGS)
	@test -n "$(ARGS)" || $(MAKE) --no-print-directory benchmarks BENCHED="./closer ./events ./signing"

benchmarks: ## go test -bench of BENCHED=./... and of the lab; make bench without ARGS ends with those of the codec
	$(GO) test -run '^$$' -bench . -benchmem $(TESTFLAGS) $(BENCHED)
	cd internal/bench && $(GO) test -run '^$$' -bench . -benchmem $(TESTFLAGS) ./v2 ./exchange

tour: ## records the tour of the README as docs/tour/tour.cast, or WHAT=test the tests; needs Python, kcat
	docs/tour/record.sh $(or $(WHAT),tour)

docker: ## an image, closeorder:latest
	docker build --build-arg REVISION=$$(git rev-parse HEAD) -t closeorder:latest .

release: ## VERSION=v0.1.0 in dist: archives of static binaries, an OCI image, the chart, SBOMs, provenance, notes, SHA256SUMS
	@GO=$(GO) .ci/release "$(VERSION)" "$(DIST)"

release-check: ## builds VERSION twice, in two folders, the second time with nothing cached: the bytes must be equal
	@work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	GO=$(GO) .ci/release "$(VERSION)" "$$work/first" && \
	GOCACHE=$$work/cache GO=$(GO) .ci/release "$(VERSION)" "$$work/second" && \
	diff -r "$$work/first" "$$work/second" && \
	echo "both are the same, byte for byte:" && cat "$$work/first/SHA256SUMS"

# Its tests read files above their module, which Go does not look at when it asks whether a result still holds.
release-test: ## internal/release, a module of its own: go mod tidy, build, vet for macOS and its tests, which start the image
	cd internal/release && export $(PLAIN) && $(GO) mod tidy -diff && GOOS=darwin GOARCH=arm64 $(GO) vet . && $(GO) build -o /dev/null . && $(GO) test -vet=off -count=1 ./...

clean: ## remove what make build and make release have made
	rm -rf bin dist
