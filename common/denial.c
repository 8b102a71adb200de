/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/denial.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/units.h"

/* As it is now; "unlimited", a number, or a size. */
static const char *limit_text(int resource, bool bytes, char buf[UNITS_TEXT_SIZE])
{
	struct rlimit limit;

	if (getrlimit(resource, &limit))
		return "unknown";
	if (limit.rlim_cur == RLIM_INFINITY)
		return "unlimited";
	if (bytes)
		return units_format_bytes(limit.rlim_cur, buf, UNITS_TEXT_SIZE);
	snprintf(buf, UNITS_TEXT_SIZE, "%llu", (unsigned long long)limit.rlim_cur);
	return buf;
}

static const char *remedy_of_files(int rc, char *buf)
{
	char limit[UNITS_TEXT_SIZE];

	if (rc == -ENFILE)
		return "the whole machine has too many: raise the sysctl fs.file-max";
	snprintf(buf, DENIAL_TEXT_SIZE,
		"RLIMIT_NOFILE, the limit of this process, is %s: raise it ('ulimit -n', "
		"LimitNOFILE= of a systemd unit, --ulimit nofile= of a container)",
		limit_text(RLIMIT_NOFILE, false, limit));
	return buf;
}

static const char *remedy_of_memory(char *buf)
{
	char limit[UNITS_TEXT_SIZE];

	snprintf(buf, DENIAL_TEXT_SIZE,
		"RLIMIT_AS ('ulimit -v') is %s; else see the control group's memory.max "
		"(MemoryMax= of a systemd unit, --memory of a container), vm.max_map_count and "
		"vm.overcommit_memory",
		limit_text(RLIMIT_AS, true, limit));
	return buf;
}

static bool may_lock_all(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY;
}

static const char *remedy_of_pinned(char *buf)
{
	char lock[UNITS_TEXT_SIZE], all[UNITS_TEXT_SIZE];

	snprintf(buf, DENIAL_TEXT_SIZE,
		"RLIMIT_MEMLOCK is %s (raise it: 'ulimit -l', memlock in "
		"/etc/security/limits.conf, "
		"LimitMEMLOCK= of a systemd unit, --ulimit memlock= of a container); else "
		"RLIMIT_AS "
		"('ulimit -v'), which is %s, or the control group's memory.max",
		limit_text(RLIMIT_MEMLOCK, true, lock), limit_text(RLIMIT_AS, true, all));
	return buf;
}

static const char *remedy_of_threads(char *buf)
{
	char users[UNITS_TEXT_SIZE], all[UNITS_TEXT_SIZE];

	snprintf(buf, DENIAL_TEXT_SIZE,
		"RLIMIT_NPROC ('ulimit -u', LimitNPROC=), for all threads of the user, is %s; else "
		"see the control group's pids.max (TasksMax= of a systemd unit, --pids-limit of a "
		"container), kernel.threads-max, and RLIMIT_AS ('ulimit -v'), which is %s",
		limit_text(RLIMIT_NPROC, false, users), limit_text(RLIMIT_AS, true, all));
	return buf;
}

#define CM_DEVICE "/dev/infiniband/rdma_cm"

static const char *remedy_of_device(int rc, char *buf)
{
	/* librdmacm looks elsewhere when it may not open it, and says that there is nothing. */
	bool closed = access(CM_DEVICE, F_OK) == 0 && access(CM_DEVICE, R_OK | W_OK) != 0;

	if (!closed && (rc == -ENOENT || rc == -ENXIO || rc == -ENODEV))
		return "load the modules ib_uverbs and rdma_ucm, see 'rdma link', and give a "
		       "container the device files (--device=/dev/infiniband)";
	snprintf(buf, DENIAL_TEXT_SIZE,
		"let uid %u read and write /dev/infiniband/uverbs* and /dev/infiniband/rdma_cm "
		"(their "
		"group or a udev rule; DeviceAllow= of a systemd unit; --device=/dev/infiniband of "
		"a container)",
		(unsigned)geteuid());
	return buf;
}

static const char *remedy_of_size(char *buf)
{
	char limit[UNITS_TEXT_SIZE];

	snprintf(buf, DENIAL_TEXT_SIZE,
		"RLIMIT_FSIZE is %s: raise it ('ulimit -f', LimitFSIZE= of a systemd unit)",
		limit_text(RLIMIT_FSIZE, true, limit));
	return buf;
}

const char *denial_remedy(enum denial what, int rc, char buf[DENIAL_TEXT_SIZE])
{
	switch (rc) {
	case -EMFILE:
	case -ENFILE:
		return remedy_of_files(rc, buf);
	case -EFBIG:
		return remedy_of_size(buf);
	case -ENOMEM:
		if (what == DENIED_THREAD)
			return remedy_of_threads(buf);
		return what == DENIED_PINNED && !may_lock_all() ? remedy_of_pinned(buf)
								: remedy_of_memory(buf);
	case -EAGAIN:
		if (what == DENIED_THREAD)
			return remedy_of_threads(buf);
		return what == DENIED_PINNED || what == DENIED_DEVICE
			       ? "the control group's limit of RDMA objects: raise rdma.max, or "
				 "hold less of what rdma.current counts"
			       : "";
	case -ENOENT:
	case -ENXIO:
	case -ENODEV:
		return what == DENIED_DEVICE ? remedy_of_device(rc, buf) : "";
	case -EACCES:
	case -EPERM:
	case -ENOSYS:
		/* Without a capability a limit of 0 is answered like that. */
		if (what == DENIED_PINNED && rc == -EPERM && !may_lock_all())
			return remedy_of_pinned(buf);
		return what == DENIED_DEVICE && rc != -ENOSYS
			       ? remedy_of_device(rc, buf)
			       : "the kernel has no such call, or the seccomp profile of a "
				 "container (--security-opt seccomp=, --cap-add), "
				 "SystemCallFilter= "
				 "of a systemd unit or a security module forbids it";
	default:
		return "";
	}
}

int denial_explain(enum denial what, int rc, const char *doing, struct errinfo *errinfo)
{
	char buf[DENIAL_TEXT_SIZE];
	const char *remedy = denial_remedy(what, rc, buf);

	return errinfo_set(
		errinfo, rc, "%s: %s%s%s", doing, errinfo_errno(-rc), *remedy ? ": " : "", remedy);
}

/* ---- devices ---- */

#define CLASS_DIR "/sys/class/infiniband_verbs"
#define DESCRIPTORS_MAX 128

int denial_of_descriptors(int wanted, struct errinfo *errinfo)
{
	int fds[DESCRIPTORS_MAX], n = 0, rc = 0;
	char doing[64];

	while (!rc && n < wanted && n < DESCRIPTORS_MAX) {
		fds[n] = eventfd(0, EFD_CLOEXEC);
		if (fds[n] < 0)
			rc = -errno;
		else
			n++;
	}
	while (n > 0)
		close(fds[--n]);
	if (rc != -EMFILE && rc != -ENFILE)
		return 0;
	snprintf(doing, sizeof(doing), "%d more descriptors are needed", wanted);
	return denial_explain(DENIED_FILE, rc, doing, errinfo);
}

static int try_open(const char *name)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "/dev/infiniband/%.255s", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* All devices that the kernel has, and what connects them. 0 too if there are none. */
static int check_devices(void)
{
	DIR *dir = opendir(CLASS_DIR);
	const struct dirent *entry;
	bool any = false;
	int rc = 0;

	while (dir && !rc && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "uverbs", 6) != 0)
			continue;
		any = true;
		rc = try_open(entry->d_name);
	}
	if (dir)
		closedir(dir);
	return any && !rc ? try_open("rdma_cm") : rc;
}

int denial_of_devices(struct errinfo *errinfo)
{
	int rc = denial_of_descriptors(DENIAL_CONNECTION_DESCRIPTORS, errinfo);

	if (rc)
		return rc;
	rc = check_devices();
	if (!rc)
		return 0;
	(void)denial_explain(DENIED_DEVICE, rc,
		"there is an RDMA device, which this process cannot open", errinfo);
	return -ENODEV;
}
