/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/identity.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/presence.h"

#define FIRST_PID_NS 0xeffffffcU /* PROC_PID_INIT_INO of the kernel */

/* Up to size - 1 bytes of a /proc file, terminated. Bytes read, or a negative errno. */
static ssize_t slurp(const char *path, char *buf, size_t size)
{
	size_t n = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	while (n < size - 1) {
		ssize_t got = read(fd, buf + n, size - 1 - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			int err = -errno;

			close(fd);
			return err;
		}
		if (got == 0)
			break;
		n += (size_t)got;
	}
	close(fd);
	buf[n] = '\0';
	return (ssize_t)n;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_boot_id(uint8_t out[16])
{
	char text[64] = "";
	unsigned digits = 0;

	if (slurp("/proc/sys/kernel/random/boot_id", text, sizeof(text)) < 0)
		return false;
	for (const char *c = text; *c && digits < 32; c++) {
		int v = hex_digit(*c);

		if (v < 0)
			continue;
		out[digits / 2] = (uint8_t)(out[digits / 2] << 4 | v);
		digits++;
	}
	return true;
}

/* Reads the file once: a process does not outlive its boot. All 0 if that fails, and then it is tried again. */
static void read_boot_id(uint8_t out[16])
{
	enum { UNKNOWN, STORING, KNOWN };
	static atomic_int state;
	static uint8_t known[16];
	int expected = UNKNOWN;

	memset(out, 0, sizeof(known));
	if (atomic_load(&state) == KNOWN) {
		memcpy(out, known, sizeof(known));
		return;
	}
	if (!parse_boot_id(out) || !atomic_compare_exchange_strong(&state, &expected, STORING))
		return;
	memcpy(known, out, sizeof(known));
	atomic_store(&state, KNOWN);
}

/*
 * What a pid and a start time mean depends on two namespaces: /proc shows start times by the clock of
 * the reader's time namespace. Numbers of namespaces have 32 bits; kernels before 5.6 have one clock.
 * Of this thread: the first one, which "self" is, has none any more if it has ended.
 */
static uint64_t read_time_ns(void)
{
	struct stat clock;

	return stat("/proc/thread-self/ns/time", &clock) ? 0 : clock.st_ino;
}

static uint64_t read_pid_ns(void)
{
	struct stat dir, pid;

	/* A kernel without PID namespaces: everybody is in the first, whose number is the same everywhere. */
	if (stat("/proc/thread-self/ns/pid", &pid)) {
		if (errno != ENOENT || stat("/proc/thread-self/ns", &dir))
			return 0;
		pid.st_ino = FIRST_PID_NS;
	}
	return read_time_ns() << 32 | (uint32_t)pid.st_ino;
}

struct stat_line {
	char state;
	long threads;
	uint64_t start_ticks;
};

/* Field number 3 (the state), or a later one, of the line; NULL if it is shorter. */
static const char *stat_field(const char *after_name, unsigned number)
{
	const char *p = after_name;

	for (unsigned i = 3;; i++) {
		p += strspn(p, " ");
		if (!*p)
			return NULL;
		if (i == number)
			return p;
		p += strcspn(p, " ");
	}
}

/* The fields of /proc/PID/stat that count; the name before them may hold any byte, even ')'. */
static int read_stat(const char *path, struct stat_line *out)
{
	const char *name_end, *state, *threads, *start;
	char line[1024] = "";
	ssize_t n = slurp(path, line, sizeof(line));

	if (n < 0)
		return (int)n;
	name_end = strrchr(line, ')');
	if (!name_end)
		return -EBADMSG;
	state = stat_field(name_end + 1, 3);
	threads = stat_field(name_end + 1, 20);
	start = stat_field(name_end + 1, 22);
	if (!start)
		return -EBADMSG;
	out->state = *state;
	out->threads = strtol(threads, NULL, 10);
	out->start_ticks = strtoull(start, NULL, 10);
	return 0;
}

static void read_cmdline(char *out, size_t size)
{
	ssize_t n = slurp("/proc/self/cmdline", out, size);

	if (n < 0)
		n = 0;
	while (n > 0 && out[n - 1] == '\0')
		n--;
	out[n] = '\0';
	for (ssize_t i = 0; i < n; i++)
		if (!out[i])
			out[i] = ' ';
}

/* In any locale: of UTF-8, the two-byte codes U+0080 to U+009F. */
static void clean(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p; p++) {
		if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
			*p = p[1] = ' ';
		else if (*p < 0x20 || *p == 0x7f)
			*p = ' ';
	}
}

void identity_boot(uint8_t boot_id[16], uint64_t *out_clock)
{
	read_boot_id(boot_id);
	*out_clock = read_time_ns();
}

void identity_clean(struct identity *who)
{
	clean(who->host);
	clean(who->exe);
	clean(who->cmdline);
	clean(who->job);
}

void identity_self(struct identity *out, const char *job)
{
	struct stat_line line;
	ssize_t n;

	memset(out, 0, sizeof(*out));
	read_boot_id(out->boot_id);
	out->pid = (uint32_t)getpid();
	out->pid_ns = read_pid_ns();
	if (read_stat("/proc/self/stat", &line) == 0)
		out->start_ticks = line.start_ticks;
	out->uid = (uint32_t)getuid();
	if (gethostname(out->host, sizeof(out->host) - 1))
		out->host[0] = '\0';
	n = readlink("/proc/self/exe", out->exe, sizeof(out->exe) - 1);
	out->exe[n > 0 ? n : 0] = '\0';
	read_cmdline(out->cmdline, sizeof(out->cmdline));
	if (!job)
		job = secure_getenv("RMEM_JOB");
	if (!job)
		job = secure_getenv("SLURM_JOB_ID");
	if (job)
		snprintf(out->job, sizeof(out->job), "%s", job);
	identity_clean(out);
}

/* Is /proc that of this process's PID namespace? A container may have made one and not mounted another /proc. */
static bool proc_is_own(void)
{
	char self[64];
	ssize_t n = readlink("/proc/self", self, sizeof(self) - 1);
	const char *slash;

	if (n <= 0)
		return false;
	self[n] = '\0';
	slash = strrchr(self, '/');
	return strtol(slash ? slash + 1 : self, NULL, 10) == getpid();
}

enum process_state identity_probe(const struct identity *who)
{
	static const uint8_t unknown[16];
	struct stat_line line;
	uint8_t boot_id[16];
	char path[32];

	read_boot_id(boot_id);
	if (memcmp(boot_id, unknown, sizeof(boot_id)) == 0 ||
		memcmp(boot_id, who->boot_id, sizeof(boot_id)) != 0)
		return PROCESS_UNKNOWN;
	if (!who->pid || who->pid > INT32_MAX || !who->start_ticks || !who->pid_ns ||
		who->pid_ns != read_pid_ns() || !proc_is_own())
		return PROCESS_UNKNOWN;
	/* /proc may be mounted so that it hides other users' processes; kill(2) never does. */
	if (kill((pid_t)who->pid, 0) && errno == ESRCH)
		return PROCESS_GONE;
	snprintf(path, sizeof(path), "/proc/%u/stat", who->pid);
	if (read_stat(path, &line))
		return PROCESS_UNKNOWN;
	if (line.start_ticks != who->start_ticks)
		return PROCESS_GONE;
	/* A process whose first thread has ended looks like a zombie while the others run. */
	if ((line.state == 'Z' && line.threads <= 1) || line.state == 'X')
		return PROCESS_GONE;
	if (presence_look(who->mark, who->mark_place) == PRESENCE_GONE)
		return PROCESS_LET_GO;
	return PROCESS_ALIVE;
}
