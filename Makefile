# SPDX-License-Identifier: MIT
# Builds build/shunt from user/ (C) and build/shunt-tester from tester/ (Go). `make help` lists the targets.
#
#   V=1                      show the commands
#   WERROR=1                 warnings are errors
#   SAN=address,undefined    build with these sanitizers, into build/$(SAN)/
#   CFLAGS, LDFLAGS          are added to what the project needs
#   DESTDIR, prefix          where `make install` puts things

VERSION := 0.1.0

MAKEFLAGS += --no-builtin-rules --no-print-directory
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all run demo check bench unit units fuzz fuzzers man lint-man install uninstall clean format vet lint help \
	FORCE missing-packages

Q := $(if $(V),,@)
O := build$(addprefix /,$(SAN))

prefix := /usr/local
sbindir := $(prefix)/sbin
bindir := $(prefix)/bin
mandir := $(prefix)/share/man
unitdir := $(prefix)/lib/systemd/system
sysusersdir := $(prefix)/lib/sysusers.d
completiondir := $(prefix)/share/bash-completion/completions
sysconfdir := /etc

# The BPF programs need the types of the kernel that the machine runs, and tools that make no sense without
# them. Where something is missing shunt is built without: it says so, and has one engine less.
BPFTOOL := $(firstword $(wildcard $(addsuffix /bpftool,$(subst :, ,$(PATH)) /usr/sbin)))
CLANG := clang
LLVM_STRIP := llvm-strip
VMLINUX_BTF := $(wildcard /sys/kernel/btf/vmlinux)
HAVE_BPF := $(if $(and $(BPFTOOL),$(VMLINUX_BTF),$(shell command -v $(CLANG)),$(shell command -v $(LLVM_STRIP))),$(shell \
	    pkg-config --exists libbpf 2>/dev/null && echo yes))
BPF_O := build/bpf
BPF_SRCS := $(wildcard bpf/*.bpf.c)
SKELETONS := $(if $(HAVE_BPF),$(BPF_SRCS:bpf/%.bpf.c=$(BPF_O)/%.skel.h))
# What the tester makes a bad network of.
TEST_BPF_SRCS := $(wildcard test/bpf/*.bpf.c)
TEST_BPF := $(if $(HAVE_BPF),$(TEST_BPF_SRCS:test/bpf/%.bpf.c=$(BPF_O)/%.bpf.o))

LIBS := libcjson libcares libmicrohttpd $(if $(HAVE_BPF),libbpf)
HAVE_LIBS := $(shell pkg-config --exists $(LIBS) 2>/dev/null && echo yes)
GIT_VERSION := $(if $(wildcard .git),$(shell git describe --always --dirty --match 'v$(VERSION)' 2>/dev/null))
SHUNT_VERSION := $(if $(filter v%,$(GIT_VERSION)),$(GIT_VERSION:v%=%),$(VERSION)$(GIT_VERSION:%=-g%))

# What needs BPF to be built, and what stands in for it.
NEED_BPF := $(addprefix user/,sockmap.c bypass.c tcx.c wire.c wire_maps.c wire_adopted.c bpf_load.c bpf_ring.c)
WITHOUT_BPF := $(addprefix user/,sockmap_none.c bypass_none.c tcx_none.c wire_none.c)
SRCS := $(filter-out $(if $(HAVE_BPF),$(WITHOUT_BPF),$(NEED_BPF)),$(wildcard user/*.c))
# What looks into the programs themselves can't be built without them.
WIRE_UNITS := $(wildcard test/unit/test_wire_bpf*.c)
UNIT_SRCS := $(filter-out $(if $(HAVE_BPF),,$(WIRE_UNITS)),$(wildcard test/unit/test_*.c))
FUZZ_SRCS := $(wildcard test/fuzz/fuzz_*.c)
ALL_SRCS := $(SRCS) $(UNIT_SRCS) $(FUZZ_SRCS) $(wildcard bench/*.c)
GO_SRCS := $(shell find tester -name '*.go' -o -name go.mod)
OBJS := $(SRCS:%.c=$(O)/obj/%.o)
UNITS := $(UNIT_SRCS:test/unit/%.c=$(O)/unit/%)
FUZZERS := $(FUZZ_SRCS:test/fuzz/%.c=$(O)/%)
MAN_PAGES := $(patsubst docs/%.scd,build/man/%,$(wildcard docs/*.scd))

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla -Wformat=2 \
	    -Wconversion $(if $(WERROR),-Werror)
# The sanitizers and the hardening each want to own the same functions.
ifdef SAN
HARDENING := -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
HARDENING_LD := -fsanitize=$(SAN)
else
HARDENING := -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fPIE
HARDENING_LD := -pie -Wl,-z,relro,-z,now
endif
C_FLAGS := -std=gnu17 -D_GNU_SOURCE -O2 -g -pthread $(HARDENING) $(WARNINGS) -Iinclude -Iuser -isystem $(BPF_O) \
	   $(shell pkg-config --cflags $(LIBS) 2>/dev/null) $(CPPFLAGS) $(CFLAGS)
LD_FLAGS := -pthread $(HARDENING_LD) $(LDFLAGS)
LDLIBS := $(shell pkg-config --libs $(LIBS) 2>/dev/null) -lm

# One definition of how a file is compiled, for the rule and for compile_commands.json.
extra = $(if $(filter user/main.c,$(1)),'-DSHUNT_VERSION="$(SHUNT_VERSION)"') $(if $(filter test/%,$(1)),-Wno-conversion)
compile = $(CC) $(C_FLAGS) $(call extra,$(1)) -c $(1)
say = @printf '  %-7s %s\n' $(1) $(2)

all: $(O)/shunt build/shunt-tester $(TEST_BPF) ## build shunt and its tester

# deps.sh comes before anything is compiled: a recipe's lines run one after the other, also under -j.
run: ## install what is missing, build, run config.json
	@scripts/deps.sh build
	@$(MAKE) all
	$(O)/shunt run -c config.json

demo: ## the same config.json with live backends and traffic, in network namespaces
	@scripts/deps.sh build
	@$(MAKE) all
	@build/shunt-tester demo --shunt $(O)/shunt

check: ## unit tests, layer check, and the tester's whole scenario table
	@scripts/deps.sh build check
	@$(MAKE) all units
	@scripts/check.sh $(O)

bench: ## side by side with HAProxy, nginx and no proxy; BENCH=quick for two minutes
	@scripts/deps.sh build bench
	@$(MAKE) $(O)/shunt $(O)/shunt-load
	@python3 bench/bench.py --build $(O) $(if $(filter quick,$(BENCH)),--quick)

units: $(UNITS)

unit: units ## run the unit tests alone
	@for t in $(UNITS); do $$t || exit 1; done

FUZZ_SECONDS := 20
fuzz: ## run each fuzzer for FUZZ_SECONDS (20)
	@$(MAKE) CC=clang SAN=fuzzer-no-link,address,undefined fuzzers
	@for f in $(FUZZ_SRCS:test/fuzz/%.c=%); do \
		mkdir -p build/corpus/$$f && \
		build/fuzzer-no-link,address,undefined/$$f -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
			-artifact_prefix=build/corpus/$$f- build/corpus/$$f || exit 1; \
	done

fuzzers: $(FUZZERS)

$(O)/shunt: $(O)/obj/user/main.o $(O)/libshunt.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LD_FLAGS) -o $@ $^ $(LDLIBS)

# All but main.c, so that a test links what it names and nothing else.
$(O)/libshunt.a: $(filter-out %/main.o,$(OBJS))
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(O)/shunt-load: $(O)/obj/bench/load.o $(O)/libshunt.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LD_FLAGS) -o $@ $^ $(LDLIBS)

$(UNITS): $(O)/unit/%: $(O)/obj/test/unit/%.o $(O)/libshunt.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LD_FLAGS) -o $@ $^ -lcmocka $(LDLIBS)

$(FUZZERS): $(O)/%: $(O)/obj/test/fuzz/%.o $(O)/libshunt.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LD_FLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

$(O)/obj/%.o: %.c $(O)/obj/flags | $(if $(HAVE_LIBS),,missing-packages)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(call compile,$<) -MMD -MP -o $@

# A skeleton has the programs in it, without their debug information but for the BTF, and a function for each step.
$(O)/obj/user/sockmap.o: $(BPF_O)/shunt.skel.h
$(O)/obj/user/bypass.o: $(BPF_O)/bypass.skel.h
$(O)/obj/user/wire_maps.o $(WIRE_UNITS:%.c=$(O)/obj/%.o): $(BPF_O)/wire.skel.h

.SECONDARY: # else the programs would be removed, and make would say so
$(BPF_O)/%.skel.h: $(BPF_O)/%.bpf.o
	$(call say,SKEL,$@)
	$(Q){ echo '/* NOLINTBEGIN */' && $(BPFTOOL) gen skeleton $< name $*_bpf && echo '/* NOLINTEND */'; } >$@

vpath %.bpf.c bpf test/bpf
$(BPF_O)/%.bpf.o: %.bpf.c $(BPF_O)/vmlinux.h
	$(call say,BPF,$<)
	$(Q)$(CLANG) -target bpf -mcpu=v3 -O2 -g -Wall -Wextra $(if $(WERROR),-Werror) \
		-Iinclude -isystem $(BPF_O) -MMD -MP -MT $@ -c $< -o $@
	$(Q)$(LLVM_STRIP) -g $@

$(BPF_O)/vmlinux.h: $(VMLINUX_BTF)
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)$(BPFTOOL) btf dump file $< format c >$@

# Objects depend on how they were compiled, main.o also on the version: these change only when it does.
stamp = @mkdir -p $(@D); printf '%s\n' $(1) | cmp -s - $@ || printf '%s\n' $(1) >$@
$(O)/obj/flags: FORCE
	$(call stamp,'$(CC) $(C_FLAGS)')
$(O)/obj/version: FORCE
	$(call stamp,'$(SHUNT_VERSION)')
$(O)/obj/user/main.o: $(O)/obj/version

GO_ENV := GO111MODULE=on GOPROXY=off GOFLAGS='-trimpath -mod=mod' CGO_ENABLED=0
# Go keeps its cache under HOME, which a CI machine or a system service may not set.
ifeq ($(HOME),)
GO_ENV += GOPATH='$(or $(GOPATH),$(CURDIR)/build/go)' GOCACHE='$(or $(GOCACHE),$(CURDIR)/build/go/cache)'
endif
build/shunt-tester: $(GO_SRCS) | $(if $(shell command -v go),,missing-packages)
	$(call say,GO,$@)
	$(Q)cd tester && $(GO_ENV) go build -buildvcs=false -o ../$@ ./cmd/tester

missing-packages:
	@echo 'shunt: packages are missing that the build needs; install them: sudo scripts/deps.sh build' >&2; exit 1

man: $(MAN_PAGES) ## build the manual pages

build/man/%: docs/%.scd scripts/man.awk
	@mkdir -p $(@D)
	$(call say,MAN,$@)
	$(Q)scdoc <$< >$@.scdoc && LC_ALL=C awk -f scripts/man.awk $@.scdoc >$@ && rm $@.scdoc

lint-man: $(MAN_PAGES) # what mandoc has to say about the manual pages: nothing
	$(Q)said=$$(mandoc -T lint $(MAN_PAGES)) && test -z "$$said" || { echo "$$said"; exit 1; }

install: $(O)/shunt build/shunt-tester man ## install to $(DESTDIR)$(prefix), the configuration to $(DESTDIR)$(sysconfdir)
	install -D -m 755 $(O)/shunt $(DESTDIR)$(sbindir)/shunt
	install -D -m 755 build/shunt-tester $(DESTDIR)$(bindir)/shunt-tester
	install -d $(DESTDIR)$(unitdir) $(DESTDIR)$(sysconfdir)/shunt
	sed 's|/usr/sbin/|$(sbindir)/|; s|/etc/shunt/|$(sysconfdir)/shunt/|' packaging/shunt.service \
		>$(DESTDIR)$(unitdir)/shunt.service
	install -D -m 644 packaging/shunt.sysusers $(DESTDIR)$(sysusersdir)/shunt.conf
	test -e $(DESTDIR)$(sysconfdir)/shunt/config.json || \
		install -m 644 config.json $(DESTDIR)$(sysconfdir)/shunt/config.json
	for m in $(MAN_PAGES); do install -D -m 644 $$m $(DESTDIR)$(mandir)/man$${m##*.}/$${m##*/} || exit 1; done
	install -D -m 644 packaging/bash-completion/shunt $(DESTDIR)$(completiondir)/shunt

uninstall: ## remove what install put there, but not the configuration
	rm -f $(DESTDIR)$(sbindir)/shunt $(DESTDIR)$(bindir)/shunt-tester $(DESTDIR)$(completiondir)/shunt \
		$(DESTDIR)$(unitdir)/shunt.service $(DESTDIR)$(sysusersdir)/shunt.conf
	for m in $(MAN_PAGES); do rm -f $(DESTDIR)$(mandir)/man$${m##*.}/$${m##*/}; done

clean: ## remove build/ and compile_commands.json
	rm -rf build compile_commands.json

format: ## format the C and Go sources in place
	clang-format -i $(ALL_SRCS) $(wildcard bpf/*.[ch] include/*.h user/*.c user/*.h test/*/*.h test/bpf/*.c)
	gofmt -w tester

vet: # go vet in the environment that the tester is built in
	$(Q)cd tester && $(GO_ENV) go vet ./...

lint: compile_commands.json $(SKELETONS) ## clang-tidy, cppcheck, go vet, shellcheck, formatting, layers
	@scripts/lint.sh

comma := ,
define newline


endef
json_entry = {"directory": "$(CURDIR)"$(comma) "file": "$(1)"$(comma) "command": "$(subst ",\",$(call compile,$(1)))"}
compile_commands.json: Makefile $(ALL_SRCS)
	$(call say,GEN,$@)
	$(file >$@,[$(foreach s,$(ALL_SRCS),$(if $(filter-out $(firstword $(ALL_SRCS)),$(s)),$(comma))$(newline)$(call json_entry,$(s)))$(newline)])

help: ## show this
	@sed -n 's/^\([a-z_.]*\):[^#]*## /  \1 /p' Makefile | awk '{ printf "  %-22s", $$1; $$1 = ""; print }'
	@sed -n '/^#   /s/^# //p' Makefile

-include $(patsubst %.c,$(O)/obj/%.d,$(ALL_SRCS)) $(BPF_SRCS:bpf/%.c=$(BPF_O)/%.d) \
	$(TEST_BPF_SRCS:test/bpf/%.c=$(BPF_O)/%.d)
