# SPDX-License-Identifier: Apache-2.0
# make lint: every check is one file build/lint/<tool>/<source>.ok, newer than what it depends on, so
# that a second run looks at what changed only. A check that passes says nothing; V=1 names it.
# A check that fails prints the tool's words, and the end of the run lists all that failed.
#
#   make lint            everything
#   make lint-layering   one tool: layering shape format gcc clang arm64 tidy cppcheck shellcheck
#   make size            lines and bytes per room, sizes of the programs against their limits

L        := $(B)/lint
L_JOBS   ?= $(shell nproc)

# What is looked at: the program by every tool; its tests by the compilers' users and the formatter.
L_ROOMS  := $(ROOMS) $(wildcard jailer)
L_C      := $(foreach r,$(L_ROOMS),$(wildcard $(r)/*.c)) $(wildcard *.c)
L_X86    := $(filter-out %_arm64.c,$(L_C))
L_ARM64  := $(filter-out %_x86.c,$(L_C))
L_TEST_C := $(wildcard tests/unit/*.c tests/fuzz/*.c tests/bench/*.c tests/guests/*.c tests/platform/*.c)
L_H      := $(foreach r,$(L_ROOMS),$(wildcard $(r)/*.h)) $(wildcard *.h) $(wildcard tests/*/*.h)
L_TEXT   := $(L_C) $(L_TEST_C) $(L_H)
L_SHELL  := $(shell grep -rlIE '^\#!.*[/ ](ba|da)?sh\b' --exclude-dir=build --exclude-dir=.git . | sed 's,^\./,,')

# $(1): name, $(2): command. Quiet unless it fails; failures are collected for the summary.
define lint_do
	@mkdir -p $(@D)
	$(if $(V),@echo "  $(1)  $<")
	@if $(2) >$@.out 2>&1; then \
		if [ -s $@.out ] && grep -q 'warning:' $@.out; then cat $@.out; fi; \
		touch $@; \
	else \
		echo "--- $(1): $<"; cat $@.out; echo "$(1): $<" >>$(L)/failed; exit 1; \
	fi
endef

# A compile as a check: the object file is thrown away, its .d file makes headers count. All tools
# that read headers hang behind one of these two.
L_GCC    := $(CC) $(COMMON) -O1 -fanalyzer
# The kernel's structs that end in an array stand at the head of ours, as its interface wants.
L_CLANG  := $(CLANG) $(COMMON) -Wno-gnu-variable-sized-type-not-at-end -O1 -fsyntax-only
L_CROSS  := $(CROSS) $(COMMON) -O1

$(L)/gcc/%.ok: %.c
	$(call lint_do,gcc -fanalyzer,$(L_GCC) -MF $@.d -MT $@ -c $< -o /dev/null)
$(L)/clang/%.ok: %.c
	$(call lint_do,clang,$(L_CLANG) -MF $@.d -MT $@ $<)
$(L)/arm64/%.ok: %.c
	$(call lint_do,aarch64 gcc,$(L_CROSS) -MF $@.d -MT $@ -c $< -o /dev/null)

$(L)/tidy/%.ok: %.c $(L)/clang/%.ok .clang-tidy
	$(call lint_do,clang-tidy,clang-tidy --quiet $< -- -std=gnu11 $(DEFS))
$(L)/cppcheck/%.ok: %.c $(L)/clang/%.ok tests/lint/cppcheck.txt
	$(call lint_do,cppcheck,cppcheck --quiet --error-exitcode=1 --std=c11 --platform=unix64 \
		--enable=warning$(comma)style$(comma)performance$(comma)portability --inline-suppr \
		--suppressions-list=tests/lint/cppcheck.txt --library=posix --library=gnu \
		--template=gcc -D__x86_64__=1 -I. $<)

$(L)/format/%.ok: % .clang-format
	$(call lint_do,clang-format,sh -c 'clang-format $< | diff -u --label $< --label formatted $< -')
$(L)/shape/%.ok: % tests/lint/shape
	$(call lint_do,shape,tests/lint/shape $<)
$(L)/shellcheck/%.ok: %
	$(call lint_do,shellcheck,shellcheck -x $<)

# Looks at how files hang together, so at all of them at once.
$(L)/layering.ok: tests/lint/layering $(L_TEXT)
	$(call lint_do,layering,sh -c 'tests/lint/layering --self-test && tests/lint/layering')

.PHONY: lint lint-all lint-layering lint-shape lint-format lint-gcc lint-clang lint-arm64 lint-tidy \
	lint-cppcheck lint-shellcheck size
lint-layering: $(L)/layering.ok
lint-shape:    $(L_TEXT:%=$(L)/shape/%.ok)
lint-format:   $(L_TEXT:%=$(L)/format/%.ok) $(patsubst %,$(L)/format/%.ok,$(wildcard resources/*/*.[ch]))
lint-gcc:      $(L_X86:%.c=$(L)/gcc/%.ok)
lint-clang:    $(L_X86:%.c=$(L)/clang/%.ok)
lint-arm64:    $(L_ARM64:%.c=$(L)/arm64/%.ok)
lint-tidy:     $(L_X86:%.c=$(L)/tidy/%.ok)
lint-cppcheck: $(L_X86:%.c=$(L)/cppcheck/%.ok)
lint-shellcheck: $(L_SHELL:%=$(L)/shellcheck/%.ok)
lint-all: lint-layering lint-shape lint-format lint-arm64 lint-shellcheck lint-clang lint-gcc \
	lint-cppcheck lint-tidy
	@:

lint:
	@resources/install-deps build lint
	@mkdir -p $(L) && rm -f $(L)/failed
	@$(MAKE) -k -j$(L_JOBS) --no-print-directory --output-sync=target lint-all 2>$(L)/make.err || true
	@if [ -s $(L)/failed ]; then \
		echo "lint: $$(wc -l <$(L)/failed) checks failed:"; sort $(L)/failed | sed 's/^/  /'; exit 1; \
	elif grep -v 'warning: ' $(L)/make.err; then exit 1; \
	else echo "lint: all $$(find $(L) -name '*.ok' | wc -l) checks passed"; fi

# KB of 1000 bytes, stripped.
SIZE_LIMIT_mote   := 200
SIZE_LIMIT_jailer := 60

size: all
	@tests/lint/size $(L_ROOMS) resources tests docs
	@tests/lint/size --limit $(SIZE_LIMIT_mote) $(B)/release/mote
	@tests/lint/size --limit $(SIZE_LIMIT_jailer) $(B)/release/mote-jailer

-include $(shell find $(L) -name '*.d' 2>/dev/null)
