# SPDX-License-Identifier: Apache-2.0
# mote: the two commands that a newcomer needs are `make run` and `make test`.
#
#   make            build/release/mote and mote-jailer: musl, static, position independent, stripped
#   make run        install what is missing, build, boot a Linux guest to a shell
#   make test       install what is missing, build, run every test
#   make unit       unit tests alone; unit-asan and unit-tsan the same under sanitizers, fuzz-replay the fuzzers' corpus
#   make lint       layering, format, clang-tidy, cppcheck, gcc -fanalyzer, shellcheck, aarch64 compile
#   make fuzz       libFuzzer targets, FUZZ_SECONDS each
#   make bench      the figures of README.md, side by side
#   make install    the programs, their second names and the API's description, below PREFIX (and DESTDIR)
#   make size       lines and bytes per folder

VERSION := 0.1.0
comma   := ,
ARCH    ?= $(shell uname -m)
B       := build

# One suffix per architecture; the other architecture's files are not compiled.
SUFFIX-x86_64  := x86
SUFFIX-aarch64 := arm64
SUFFIX  := $(SUFFIX-$(ARCH))
OTHER   := $(filter-out $(SUFFIX),x86 arm64)
ROOMS   := base boot virtio vmm api-socket
C_ALL   := $(foreach r,$(ROOMS),$(wildcard $(r)/*.c)) $(wildcard *.c)
H_ALL   := $(foreach r,$(ROOMS),$(wildcard $(r)/*.h)) $(wildcard *.h)
C_MOTE  := $(filter-out %_$(OTHER).c,$(C_ALL))
# Filters of system calls: made from resources/seccomp, then compiled like the rest.
C_MADE  := $(B)/seccomp/filters_$(SUFFIX).c
C_MOTE  += $(C_MADE)
# Two programs with a main, a heap and a start of their own; all else of them is one library for the tests.
C_JAIL  := $(filter-out %_$(OTHER).c,$(wildcard jailer/*.c))
C_LIB   := $(filter-out main.c base/heap.c base/start_%.c,$(C_MOTE)) $(filter-out jailer/main.c,$(C_JAIL))
C_UNIT  := $(wildcard tests/unit/*.c)

CC      := gcc
CLANG   := clang
CROSS   := aarch64-linux-gnu-gcc

# -Wsign-conversion comes with -Wconversion in C; the rest are habits that hide bugs in a VMM.
WARN    := -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wimplicit-fallthrough -Werror
DEFS    := -D_GNU_SOURCE -DMOTE_VERSION='"$(VERSION)"' -I.
COMMON  := -std=gnu11 $(WARN) $(DEFS) -MMD -MP

# Release: musl's headers first, the kernel's only for what musl does not have.
MUSL    := /usr/lib/$(ARCH)-linux-musl
HARDEN  := -fstack-protector-strong -ftrivial-auto-var-init=zero
# Two optimisations that -Oz leaves on, and that take 1 KB to save a load here and there.
R_SMALL := caller-saves move-loop-invariants
R_FLAGS := $(COMMON) -Oz $(R_SMALL:%=-fno-%) -g -fPIE -flto -ffunction-sections -fdata-sections \
	-fno-asynchronous-unwind-tables -fno-unwind-tables $(HARDEN) \
	-nostdinc -isystem /usr/include/$(ARCH)-linux-musl -isystem $(shell $(CC) -print-file-name=include) \
	-idirafter /usr/include -idirafter /usr/include/$(ARCH)-linux-gnu
R_LINK  := -static-pie -nostdlib -nostartfiles -flto -flto-partition=one -Oz \
	-fno-asynchronous-unwind-tables -fno-unwind-tables -Wl,--gc-sections -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code,-z,pack-relative-relocs
R_OBJ   := $(C_MOTE:%.c=$(B)/release/%.o)
# What the jailer takes of base/; the linker leaves out what it does not call.
J_OBJ   := $(C_JAIL:%.c=$(B)/release/%.o) $(patsubst %,$(B)/release/base/%.o,args err fd start_$(SUFFIX) text)

# V=1 shows whole commands.
ifeq ($(V),)
Q    := @
SAY   = @echo "  $(1)  $(2)";
endif

.PHONY: all
all: $(B)/release/mote $(B)/release/mote-jailer

# musl-gcc cannot link static-pie, and libc's start files are not wanted: base/start_x86.c, which knows
# packed relocations only. A word at an odd address would get another kind; none does.
$(B)/release/mote.debug: $(R_OBJ)
$(B)/release/mote-jailer.debug: $(J_OBJ)
$(B)/release/%.debug:
	$(call SAY,LINK ,$@)
	$(Q)$(CC) $(R_LINK) -o $@ $^ -Wl,--start-group $(MUSL)/libc.a -lgcc -Wl,--end-group
	$(Q)! readelf -rW $@ | grep R_ || { rm $@; false; }

$(B)/release/mote $(B)/release/mote-jailer: %: %.debug
	$(call SAY,STRIP,$@)
	$(Q)strip -s -R .comment -o $@ $<

# What runs for each frame, request and event: here speed is worth some KB.
R_HOT   := $(addprefix $(B)/release/,virtio/queue.o virtio/chain.o virtio/net_rx.o virtio/net_tx.o base/mem.o)
# Padding before functions and loops buys nothing here and is 1 KB; nor does inlining what does not say so, 1 KB.
$(R_HOT): R_FLAGS += -O2 $(R_SMALL:%=-f%) -fno-inline-functions -falign-functions=1 -falign-jumps=1 -falign-loops=1 -falign-labels=1
$(B)/release/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call SAY,CC   ,$@)
	$(Q)$(CC) $(R_FLAGS) -c $< -o $@

# The compiler of policies runs here, whatever machine the rest is for.
SECCOMP := $(B)/seccomp/mote-seccomp-compile
STEPS   := setup running vcpu
$(SECCOMP): $(wildcard resources/seccomp/*.[ch]) vmm/sandbox_filter.h Makefile
	@mkdir -p $(@D)
	$(call SAY,CC   ,$@)
	$(Q)$(CC) -std=gnu11 $(WARN) $(DEFS) -O1 -g -o $@ $(filter %.c,$^) -lseccomp

# The other architecture's policies are compiled too, so that both stay whole.
policies = $(STEPS:%=resources/seccomp/%.$(1).policy)
$(B)/seccomp/filters_x86.c $(B)/seccomp/filters_arm64.c &: $(SECCOMP) $(call policies,x86_64) $(call policies,aarch64)
	$(call SAY,BPF  ,$(@D))
	$(Q)$(SECCOMP) --arch x86_64 --c $(@D)/filters_x86.c --output $(@D)/x86_64.bpf $(call policies,x86_64)
	$(Q)$(SECCOMP) --arch aarch64 --c $(@D)/filters_arm64.c --output $(@D)/aarch64.bpf $(call policies,aarch64)

# How many system calls each kind of thread may make.
.PHONY: seccomp-count
seccomp-count: $(SECCOMP)
	@$(SECCOMP) --arch $(ARCH) --count $(call policies,$(ARCH))

# Unit tests: glibc, because criterion and the sanitizers need it.
define unit_build
$(B)/$(1)/%.o: %.c Makefile
	@mkdir -p $$(@D)
	$$(call SAY,CC   ,$$@)
	$$(Q)$(CC) $(COMMON) -O1 -g $(2) -c $$< -o $$@
$(B)/$(1)/unit: $(C_LIB:%.c=$(B)/$(1)/%.o) $(C_UNIT:%.c=$(B)/$(1)/%.o)
	$$(call SAY,LINK ,$$@)
	$$(Q)$(CC) $(2) -o $$@ $$^ -lcriterion -lpthread
endef
$(eval $(call unit_build,unit,))
ASAN := -fsanitize=address$(comma)undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
$(eval $(call unit_build,asan,$(ASAN)))
$(eval $(call unit_build,tsan,-fsanitize=thread))

# The tests about what threads share, with a runner of our own: criterion's and TSan want the same addresses.
C_TSAN := $(C_LIB) $(patsubst %,tests/unit/%.c,test_loop test_log test_bus test_serial test_threads test_virtio_threads \
	test_virtio_blk_ring virtio_rig tsan/runner)
$(B)/tsan/runner: $(C_TSAN:%.c=$(B)/tsan/%.o)
	$(call SAY,LINK ,$@)
	$(Q)$(CC) -fsanitize=thread -o $@ $^ -lpthread

.PHONY: unit unit-asan unit-tsan
unit: $(B)/unit/unit
	@mkdir -p $(B)/results
	$< --xml=$(B)/results/unit.xml

unit-asan: $(B)/asan/unit
	@mkdir -p $(B)/results
	$< --xml=$(B)/results/unit-asan.xml

unit-tsan: $(B)/tsan/runner
	@mkdir -p $(B)/results
	$< $(B)/results/unit-tsan.xml

# Fuzz targets: with clang's libFuzzer for `make fuzz`, and with a plain driver that replays the corpus for `make test`.
FUZZERS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SECONDS ?= 60
# jansson is what the JSON reader is compared with; names that both have must not reach the library.
FUZZ_LIBS := -lpthread -Wl,--as-needed -ljansson -Wl,--version-script=tests/fuzz/jansson.map

.PHONY: fuzz
fuzz: $(FUZZERS:%=$(B)/fuzz/%)
	@for f in $(FUZZERS); do mkdir -p $(B)/fuzz/corpus/$$f $(B)/fuzz/crashes/; \
	echo "== $$f"; $(B)/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(B)/fuzz/crashes/ -print_final_stats=1 \
	$(B)/fuzz/corpus/$$f tests/fuzz/corpus/$$f || exit 1; done
	@echo "== http_diff"; tests/fuzz/http_diff.py --seconds $(FUZZ_SECONDS) --reasons tests/fuzz/corpus/fuzz_http/*

# The kernel's structs that end in an array stand at the head of ours, as its interface wants.
$(B)/fuzz/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call SAY,CLANG,$@)
	$(Q)$(CLANG) $(COMMON) -Wno-gnu-variable-sized-type-not-at-end -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -c $< -o $@

$(B)/fuzz/%: $(B)/fuzz/obj/tests/fuzz/%.o $(C_LIB:%.c=$(B)/fuzz/obj/%.o)
	$(call SAY,LINK ,$@)
	$(Q)$(CLANG) -fsanitize=fuzzer,address,undefined -o $@ $^ $(FUZZ_LIBS)

# Replay: the same objects as the unit tests under ASan and UBSan, so that a corpus costs a link.
$(B)/asan/replay_%: $(B)/asan/tests/fuzz/fuzz_%.o $(B)/asan/tests/fuzz/replay.o $(C_LIB:%.c=$(B)/asan/%.o)
	$(call SAY,LINK ,$@)
	$(Q)$(CC) $(ASAN) -o $@ $^ $(FUZZ_LIBS)

.PHONY: fuzz-replay
fuzz-replay: $(FUZZERS:fuzz_%=$(B)/asan/replay_%)
	@mkdir -p $(B)/results
	@for f in $(FUZZERS:fuzz_%=%); do $(B)/asan/replay_$$f tests/fuzz/corpus/fuzz_$$f $(B)/results/fuzz-$$f.xml || bad=1; done; \
	test -z "$$bad"

# Clients written by others that the integration tests drive mote with.
.PHONY: clients
clients:
	@tests/clients/build

# Everything, also after a failure; the summary at the end counts, and fails when one test failed or none ran.
.PHONY: test
test:
	resources/install-deps build test nested
	@rm -rf $(B)/results; mkdir -p $(B)/results
	@for t in all lint-layering unit unit-asan unit-tsan fuzz-replay clients; do $(MAKE) --no-print-directory $$t || bad=1; done; \
	tests/testbed/run-suite || bad=1; tests/testbed/summary $(B)/results || bad=1; test -z "$$bad"

# The programs, the names under which clients of Firecracker call them, and the description of the API.
PREFIX  ?= /usr/local
.PHONY: install
install: $(B)/release/mote $(B)/release/mote-jailer
	install -D -m 755 $(B)/release/mote $(DESTDIR)$(PREFIX)/bin/mote
	install -D -m 755 $(B)/release/mote-jailer $(DESTDIR)$(PREFIX)/bin/mote-jailer
	@# never over a Firecracker that somebody still uses
	test -e $(DESTDIR)$(PREFIX)/bin/firecracker || ln -s mote $(DESTDIR)$(PREFIX)/bin/firecracker
	test -e $(DESTDIR)$(PREFIX)/bin/jailer || ln -s mote-jailer $(DESTDIR)$(PREFIX)/bin/jailer
	@# filters of one's own, and the policies to begin with
	install -D -m 755 $(SECCOMP) $(DESTDIR)$(PREFIX)/bin/mote-seccomp-compile
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/mote/seccomp $(call policies,$(ARCH)) resources/seccomp/README.md
	install -D -m 644 api-socket/openapi.yaml $(DESTDIR)$(PREFIX)/share/mote/openapi.yaml

.PHONY: run
run:
	@resources/install-deps build run
	@$(MAKE) --no-print-directory all
	@resources/run

.PHONY: bench
bench:
	@resources/install-deps build run nested bench
	@$(MAKE) --no-print-directory all
	@tests/bench/run

.PHONY: clean
clean:
	rm -rf $(filter-out $(B)/cache,$(wildcard $(B)/*))

include tests/lint/lint.mk

-include $(shell find $(B) -path $(B)/cache -prune -o -type f -name '*.d' -print 2>/dev/null)
