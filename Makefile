# `make help` lists the targets. RUNTIME=runc (or a path) drives the tests with another runtime.
export PATH := $(HOME)/.cargo/bin:$(PATH):/usr/local/sbin:/usr/sbin:/sbin
BIN := target/x86_64-unknown-linux-gnu/release/orlop
export RUNTIME ?= $(CURDIR)/$(BIN)
PREFIX ?= /usr/local
DESTDIR ?=

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' Makefile | expand -t 16

build: ## debug binary
	@hack/need.sh gcc libc6-dev binutils
	cargo build --locked

release: ## static release binary, in target/x86_64-unknown-linux-gnu/release
	@hack/need.sh gcc libc6-dev binutils
	cargo build --locked --release

install: release ## install the binary under $(DESTDIR)$(PREFIX)/sbin
	install -D -m 0755 $(BIN) $(DESTDIR)$(PREFIX)/sbin/orlop

check: ## format, clippy without warnings, import rules between modules
	hack/check.sh

demo: release ## run a busybox container and show what happens
	hack/demo.sh

test: release ## everything: unit, rooms, contract, peers, clients, a short sweep, the test machine (root; installs what it lacks)
	hack/test.sh unit rooms contract peers clients sweep vm

test-unit: ## unit tests and import rules, no root needed
	hack/test.sh unit

test-contract: ## the contract tests on $(RUNTIME)
	hack/test.sh contract

test-old-kernel: ## the contract tests with newer system calls refused, all at once and each alone
	hack/test.sh old-kernel

bench: ## time $(RUNTIME) against runc, crun and the bare system calls
	integration/perf/run.sh

sweep: ## kill `create` at every system call of every process and look for leaks
	integration/sweep/sweep.py --runtime $(RUNTIME)

integration: ## every real client (bundles by hand, containerd, CRI, Docker, Swarm, Podman, Buildah, public suites)
	integration/run.sh

compare: release ## the same with runc and crun as well: the table client x case x runtime
	integration/run.sh --compare

soak: ## 500 `docker run --rm` and 500 `ctr run --rm`, and nothing is left
	integration/docker/soak.sh
	integration/containerd/soak.sh

vm-image: ## the disk of the test machine, made from Debian packages, kept while nothing in it changes
	$(if $(SUITE),VM_SUITE=$(SUITE)) integration/vm/build-image

vm-test: release ## the parts of integration/vm in the machine: CGROUP=v2|v1|hybrid KERNEL=trixie-backports LSM=selinux SUITE=trixie PARTS="limits podman" RUNTIMES="orlop runc crun"
	$(if $(SUITE),VM_SUITE=$(SUITE)) integration/vm/run.sh --cgroup $(or $(CGROUP),v2) --lsm $(or $(LSM),apparmor) $(if $(KERNEL),--kernel $(KERNEL)) $(PARTS)

clean: ## remove what was built
	cargo clean

.PHONY: help build release install check demo test test-unit test-contract test-old-kernel bench sweep integration compare soak vm-image vm-test clean
