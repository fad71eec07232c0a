/* SPDX-License-Identifier: Apache-2.0 */
/*
 * elf_x86.c - an ELF64 kernel: checks every header field, maps segments, finds the PVH entry.
 *
 * Runs on the thread that builds the machine. The file is untrusted: nothing here computes with a
 * value of the file before it is bounded. ELF-64 object file format; PVH entry: Xen's
 * XEN_ELFNOTE_PHYS32_ENTRY (xen/include/public/elfnote.h).
 */
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/byteorder.h"
#include "base/fd.h"
#include "base/text.h"
#include "boot/kernel_file_x86.h"
#include "boot/layout_x86.h"

/* A vmlinux has 5 program headers, other kernels a dozen; bounded, the table fits on the stack. */
#define PHDRS_MAX 32U

/* Linux has some 500 bytes of notes; what is larger is not searched but refused. */
#define NOTES_MAX 8192U

#define XEN_ELFNOTE_PHYS32_ENTRY 18U

/* A vmlinux has some 45 sections; a file with more is loaded without looking at them. */
#define SHDRS_MAX 128U

/* Smaller sections are mapped, whatever they are: a huge page more to clear costs what is saved. */
#define SECTION_MIN 0x100000U

/* Writable pieces that are copied: from where mapping stops being cheaper to what kernels have. */
#define COPY_MIN 0x10000U
#define COPY_MAX 0x1000000U

/* What one entry of the host's and of KVM's page tables covers, if all of it is one mapping. */
#define HUGE_PAGE 0x200000U

struct elf {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[PHDRS_MAX];
	unsigned int nr;
	Elf64_Shdr sh[SHDRS_MAX];
	unsigned int nr_sections;
};

/* The identification: before it is known good, no other field has a meaning. */
static int check_ident(const Elf64_Ehdr *eh, struct err *e)
{
	if (eh->e_ident[EI_CLASS] != ELFCLASS64)
		return err_set(e, 0, "ELF header: class is %u, must be 2 (64-bit); %s",
			       eh->e_ident[EI_CLASS],
			       eh->e_ident[EI_CLASS] == ELFCLASS32 ?
				       "32-bit kernels are not supported" :
				       "the file is damaged");
	if (eh->e_ident[EI_DATA] != ELFDATA2LSB)
		return err_set(e, 0, "ELF header: data encoding is %u, must be 1 (little-endian)",
			       eh->e_ident[EI_DATA]);
	if (eh->e_ident[EI_VERSION] != EV_CURRENT || eh->e_version != EV_CURRENT)
		return err_set(e, 0, "ELF header: version is %u/%u, must be 1",
			       eh->e_ident[EI_VERSION], eh->e_version);
	if (eh->e_machine != EM_X86_64)
		return err_set(e, 0, "ELF header: machine is %u, must be 62 (x86-64)%s",
			       eh->e_machine,
			       eh->e_machine == EM_AARCH64 ? "; this is an arm64 kernel" : "");
	/* A position-independent kernel (ET_DYN) names physical addresses too. */
	if (eh->e_type != ET_EXEC && eh->e_type != ET_DYN)
		return err_set(e, 0, "ELF header: type is %u, must be 2 (executable)%s", eh->e_type,
			       eh->e_type == ET_REL ? "; this is an object file or kernel module" :
						      "");
	return 0;
}

static int read_headers(const struct kernel_file *f, struct elf *elf, struct err *e)
{
	Elf64_Ehdr *eh = &elf->eh;
	uint64_t len;
	int r;

	memcpy(eh, f->head, sizeof(*eh)); /* zeros where the file is shorter */
	if (f->size < EI_NIDENT)
		return err_set(e, 0, "ELF header: file of %" PRIu64 " bytes is cut", f->size);
	r = check_ident(eh, e);
	if (r)
		return r;
	if (f->size < sizeof(*eh))
		return err_set(e, 0,
			       "ELF header: file of %" PRIu64 " bytes is cut, the header needs %zu",
			       f->size, sizeof(*eh));
	if (eh->e_phentsize != sizeof(Elf64_Phdr))
		return err_set(e, 0, "ELF header: phentsize is %u, must be %zu", eh->e_phentsize,
			       sizeof(Elf64_Phdr));
	if (eh->e_phnum == 0 || eh->e_phnum > PHDRS_MAX)
		return err_set(e, 0, "ELF header: phnum is %u, must be 1 to %u", eh->e_phnum,
			       PHDRS_MAX);

	elf->nr = eh->e_phnum;
	len = (uint64_t)elf->nr * sizeof(Elf64_Phdr);
	if (!kernel_file_has(f, eh->e_phoff, len))
		return err_set(e, 0,
			       "ELF header: %u program headers at offset 0x%" PRIx64
			       " lie beyond the end of the file (%" PRIu64 " bytes)",
			       elf->nr, (uint64_t)eh->e_phoff, f->size);
	r = fd_pread_all(f->fd, elf->ph, (size_t)len, eh->e_phoff);
	return r ? err_set(e, -r, "read the ELF program headers") : 0;
}

static bool is_load(const Elf64_Phdr *ph)
{
	return ph->p_type == PT_LOAD && ph->p_memsz;
}

static int check_segment(const struct mem *m, const struct kernel_file *f, const Elf64_Phdr *ph,
			 unsigned int i, struct err *e)
{
	char what[32];

	if (!kernel_file_has(f, ph->p_offset, ph->p_filesz))
		return err_set(e, 0,
			       "ELF segment %u: 0x%" PRIx64 " bytes at file offset 0x%" PRIx64
			       " lie beyond the end of the file (%" PRIu64
			       " bytes); the file is cut or damaged",
			       i, (uint64_t)ph->p_filesz, (uint64_t)ph->p_offset, f->size);
	if (ph->p_filesz > ph->p_memsz)
		return err_set(e, 0,
			       "ELF segment %u: filesz 0x%" PRIx64
			       " is larger than memsz 0x%" PRIx64,
			       i, (uint64_t)ph->p_filesz, (uint64_t)ph->p_memsz);
	text_print(what, sizeof(what), "ELF segment %u", i);
	return kernel_range(m, what, ph->p_paddr, ph->p_memsz, e);
}

/*
 * Segments that overlap would make the result depend on their order, and a later one's file bytes
 * could replace what an earlier one's check was about. All ranges were checked: sums cannot wrap.
 */
static int check_overlap(const struct elf *elf, unsigned int i, struct err *e)
{
	const Elf64_Phdr *a = &elf->ph[i];

	for (unsigned int j = 0; j < i; j++) {
		const Elf64_Phdr *b = &elf->ph[j];

		if (is_load(b) && a->p_paddr < b->p_paddr + b->p_memsz &&
		    b->p_paddr < a->p_paddr + a->p_memsz)
			return err_set(
				e, 0,
				"ELF segments %u and %u overlap at physical address "
				"0x%" PRIx64,
				j, i,
				(uint64_t)(a->p_paddr > b->p_paddr ? a->p_paddr : b->p_paddr));
	}
	return 0;
}

/* Whether an address is covered by bytes of the file: bss holds no instructions. */
static bool entry_is_loaded(const struct elf *elf, uint64_t entry)
{
	for (unsigned int i = 0; i < elf->nr; i++) {
		const Elf64_Phdr *ph = &elf->ph[i];

		if (is_load(ph) && entry >= ph->p_paddr && entry - ph->p_paddr < ph->p_filesz)
			return true;
	}
	return false;
}

/*
 * One note: 12 bytes of header, then name and desc, each padded to @align. @pos is moved behind it;
 * *entry is set when it is the PVH entry. All sizes are below 4 GiB and added up in 64 bits.
 */
static int parse_note(const uint8_t *buf, size_t len, uint64_t align, uint64_t *pos,
		      uint64_t *entry, struct err *e)
{
	uint64_t at = *pos;
	uint32_t namesz = le32_get(buf + at);
	uint32_t descsz = le32_get(buf + at + 4);
	uint32_t type = le32_get(buf + at + 8);
	uint64_t name = at + sizeof(Elf64_Nhdr);
	uint64_t desc = (name + namesz + align - 1) & ~(align - 1);
	uint64_t end = desc + descsz;

	if (desc > len || end > len)
		return err_set(e, 0,
			       "ELF note at 0x%" PRIx64 " of its segment: name of %u and desc of "
			       "%u bytes lie beyond the segment's end 0x%zx",
			       at, namesz, descsz, len);
	*pos = (end + align - 1) & ~(align - 1);
	if (type != XEN_ELFNOTE_PHYS32_ENTRY || namesz != 4 || memcmp(buf + name, "Xen", 4))
		return 0;

	if (descsz != 4 && descsz != 8)
		return err_set(e, 0, "ELF note: PVH entry has %u bytes, must be 4 or 8", descsz);
	*entry = descsz == 4 ? le32_get(buf + desc) : le64_get(buf + desc);
	/* The CPU starts in 32-bit mode there. */
	if (*entry == 0 || *entry > UINT32_MAX)
		return err_set(e, 0, "ELF note: PVH entry 0x%" PRIx64 " is not a 32-bit address",
			       *entry);
	return 0;
}

/* Search one PT_NOTE segment; *entry stays as it is when there is no PVH entry. */
static int find_pvh_entry(const struct kernel_file *f, const Elf64_Phdr *ph, uint64_t *entry,
			  struct err *e)
{
	uint8_t buf[NOTES_MAX];
	uint64_t align = ph->p_align == 8 ? 8 : 4;
	size_t len = (size_t)ph->p_filesz;
	uint64_t pos = 0;
	int r;

	if (ph->p_filesz > sizeof(buf))
		return err_set(e, 0,
			       "ELF notes: segment of 0x%" PRIx64 " bytes, at most 0x%zx are read",
			       (uint64_t)ph->p_filesz, sizeof(buf));
	if (!kernel_file_has(f, ph->p_offset, ph->p_filesz))
		return err_set(e, 0,
			       "ELF notes: 0x%" PRIx64 " bytes at file offset 0x%" PRIx64
			       " lie beyond the end of the file (%" PRIu64 " bytes)",
			       (uint64_t)ph->p_filesz, (uint64_t)ph->p_offset, f->size);
	r = fd_pread_all(f->fd, buf, len, ph->p_offset);
	if (r)
		return err_set(e, -r, "read the ELF notes");

	/* Each note is at least its header long, so this ends. */
	while (pos < len && len - pos >= sizeof(Elf64_Nhdr)) {
		r = parse_note(buf, len, align, &pos, entry, e);
		if (r)
			return r;
	}
	return 0;
}

/* First everything is checked, then RAM is touched. */
static int check_all(const struct mem *m, const struct kernel_file *f, const struct elf *elf,
		     struct kernel_image *out, struct err *e)
{
	uint64_t pvh = 0;
	int r = 0;

	out->start = GPA(UINT64_MAX);
	for (unsigned int i = 0; i < elf->nr && !r; i++) {
		const Elf64_Phdr *ph = &elf->ph[i];

		if (ph->p_type == PT_NOTE)
			r = find_pvh_entry(f, ph, &pvh, e);
		if (!is_load(ph) || r)
			continue;
		r = check_segment(m, f, ph, i, e);
		if (!r)
			r = check_overlap(elf, i, e);
		if (!r && ph->p_paddr < out->start.v)
			out->start = GPA(ph->p_paddr);
		if (!r && ph->p_paddr + ph->p_memsz > out->end.v)
			out->end = GPA(ph->p_paddr + ph->p_memsz);
	}
	if (r)
		return r;
	if (out->end.v == 0)
		return err_set(e, 0,
			       "ELF: none of %u program headers is a PT_LOAD with memory, "
			       "there is nothing to load",
			       elf->nr);

	out->protocol = pvh ? BOOT_PROTOCOL_PVH : BOOT_PROTOCOL_LINUX64;
	out->entry = GPA(pvh ? pvh : elf->eh.e_entry);
	if (!entry_is_loaded(elf, out->entry.v))
		return err_set(e, 0,
			       "ELF: %s 0x%" PRIx64 " lies in no loaded segment; it must be a "
			       "physical address inside the kernel",
			       pvh ? "PVH entry" : "entry", out->entry.v);
	return 0;
}

/*
 * What a boot loader of protocol 2.12 would have read from a bzImage; the kernel looks at these
 * even when it was entered directly. 16 MiB is the alignment that x86_64 kernels are linked for.
 */
static void fill_setup(struct setup_header *h)
{
	h->boot_flag = 0xaa55;
	h->header = 0x53726448; /* "HdrS" */
	h->version = 0x020c;
	h->loadflags = LOADED_HIGH;
	h->kernel_alignment = 0x1000000;
}

/*
 * Sections are needed for speed only, so a table that is absent, too long or out of the file means
 * that there are none, not an error.
 */
static void read_sections(const struct kernel_file *f, struct elf *elf)
{
	const Elf64_Ehdr *eh = &elf->eh;
	uint64_t len = (uint64_t)eh->e_shnum * sizeof(Elf64_Shdr);

	if (eh->e_shentsize != sizeof(Elf64_Shdr) || eh->e_shnum > SHDRS_MAX ||
	    !kernel_file_has(f, eh->e_shoff, len))
		return;
	if (fd_pread_all(f->fd, elf->sh, (size_t)len, eh->e_shoff) == 0)
		elf->nr_sections = eh->e_shnum;
}

static int copy_range(struct mem *m, const struct kernel_file *f, uint64_t addr, uint64_t offset,
		      uint64_t len, struct err *e)
{
	struct iovec iov;
	int r = mem_iov(m, GPA(addr), len, &iov);

	if (!r)
		r = fd_pread_all(f->fd, iov.iov_base, iov.iov_len, offset);
	return r ? err_set(e, -r, "read 0x%" PRIx64 " bytes at offset 0x%" PRIx64, len, offset) : 0;
}

/* Where a section that is not to be mapped lies in its segment's file bytes; false: not there. */
static bool section_range(const Elf64_Shdr *sh, const Elf64_Phdr *ph, uint64_t *start,
			  uint64_t *end)
{
	uint64_t room;

	if (!(sh->sh_flags & SHF_ALLOC) ||
	    (sh->sh_type != SHT_NOBITS && !(sh->sh_flags & SHF_EXECINSTR)))
		return false;
	*start = sh->sh_addr - ph->p_vaddr; /* huge when the section lies below the segment */
	if (*start >= ph->p_filesz)
		return false;
	room = ph->p_filesz - *start;
	*end = *start + (sh->sh_size < room ? sh->sh_size : room);
	return *end - *start >= SECTION_MIN;
}

/* Where the huge page with the byte before @end ends, or the segment's file bytes before it. */
static uint64_t huge_page_end(const Elf64_Phdr *ph, uint64_t end)
{
	uint64_t room = ph->p_filesz - end;
	uint64_t rest = -(ph->p_paddr + end) % HUGE_PAGE;

	return end + (rest < room ? rest : room);
}

/*
 * A piece of a segment that is neither code nor bss. What is writable will mostly be written, page
 * by page at the price above, so a piece of usual size is copied; a huge one is hardly all touched.
 * The last part of a large piece is copied too when most of its huge page lies behind the piece:
 * that is RAM which the guest gives to its allocator.
 */
static int place_piece(struct mem *m, const struct kernel_file *f, const Elf64_Phdr *ph,
		       uint64_t start, uint64_t end, struct err *e)
{
	uint64_t len = end - start;
	uint64_t tail = (ph->p_paddr + end) % HUGE_PAGE;
	int ret;

	if ((ph->p_flags & PF_W) && len >= COPY_MIN && len <= COPY_MAX)
		return copy_range(m, f, ph->p_paddr + start, ph->p_offset + start, len, e);
	if (len < HUGE_PAGE || tail > HUGE_PAGE / 2)
		tail = 0;
	len -= tail;
	ret = mem_map_file(m, GPA(ph->p_paddr + start), f->fd, ph->p_offset + start, len, e);
	if (ret || !tail)
		return ret;
	return copy_range(m, f, ph->p_paddr + start + len, ph->p_offset + start + len, tail, e);
}

/*
 * Put one segment into RAM: mapped, but for what is writable and for two kinds of large sections.
 *
 * Instructions are copied. Linux patches its own code while it boots (alternatives, returns,
 * ftrace), so that hardly a page of it stays shared; and a page that is mapped, read, then written
 * costs the guest three exits of 4 KiB, where copied code costs one exit for 2 MiB. The rest of its
 * last huge page comes along: Linux frees what lies between its code and its constants.
 *
 * bss is left alone. Where a section behind it has contents, the linker gives it room in the file
 * (Linux: 17 MiB of zeros before .init.scratch); the guest would copy it page by page to clear it.
 *
 * A section table that lies harms the guest alone: bytes of the file go nowhere but to their place
 * in [p_paddr, p_paddr + p_filesz), which was checked, and what is left out stays zero.
 */
static int load_segment(struct mem *m, const struct kernel_file *f, const struct elf *elf,
			const Elf64_Phdr *ph, struct err *e)
{
	uint64_t at = 0; /* how much of the segment is done; sections out of order are mapped */
	uint64_t start, end;
	int r = 0;

	for (unsigned int i = 0; i < elf->nr_sections && !r; i++) {
		const Elf64_Shdr *sh = &elf->sh[i];

		if (!section_range(sh, ph, &start, &end) || start < at)
			continue;
		if (start > at)
			r = place_piece(m, f, ph, at, start, e);
		if (sh->sh_type != SHT_NOBITS)
			end = huge_page_end(ph, end);
		if (!r && sh->sh_type != SHT_NOBITS)
			r = copy_range(m, f, ph->p_paddr + start, ph->p_offset + start, end - start,
				       e);
		at = end;
	}
	if (!r && at < ph->p_filesz)
		r = place_piece(m, f, ph, at, ph->p_filesz, e);
	return r;
}

int elf_load(struct mem *m, const struct kernel_file *f, struct kernel_image *out, struct err *e)
{
	struct elf elf = { 0 };
	int r;

	r = read_headers(f, &elf, e);
	if (!r)
		r = check_all(m, f, &elf, out, e);
	if (r)
		return r;

	read_sections(f, &elf);
	/*
	 * Only p_filesz bytes come from the file: mem_map_file copies the ragged end of the last
	 * page, so the bss behind it is the zeros that RAM starts with.
	 */
	for (unsigned int i = 0; i < elf.nr; i++) {
		const Elf64_Phdr *ph = &elf.ph[i];

		if (!is_load(ph) || !ph->p_filesz)
			continue;
		r = load_segment(m, f, &elf, ph, e);
		if (r)
			return err_wrap(e, "ELF segment %u", i);
	}
	out->initrd_end = GPA(LAYOUT_GAP_START);
	fill_setup(&out->setup);
	return 0;
}
