/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <infiniband/verbs.h>
#include <netdb.h>
#include <rdma/rdma_cma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/denial.h"
#include "common/errand.h"

static bool is_local_name(const char *host)
{
	struct in6_addr v6;
	struct in_addr v4;

	if (strcmp(host, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, host, &v4) == 1)
		return (ntohl(v4.s_addr) >> 24) == 127;
	return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static int parse_port(const char *text, uint16_t *out)
{
	unsigned long port;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	port = strtoul(text, &end, 10);
	if (errno || *end || port == 0 || port > UINT16_MAX)
		return -EINVAL;
	*out = (uint16_t)port;
	return 0;
}

int target_parse(const char *text, struct target *out, struct errinfo *errinfo)
{
	struct target t = { .port = TARGET_DEFAULT_PORT, .local = true };
	const char *host = text, *end;
	bool bracket;

	if (!text || !*text) {
		strcpy(t.host, "localhost");
		*out = t;
		return 0;
	}
	bracket = *text == '[';
	if (bracket) {
		host++;
		end = strchr(host, ']');
		if (!end || (end[1] && end[1] != ':'))
			goto bad;
	} else {
		end = host + strcspn(host, ":");
		if (*end && strchr(end + 1, ':'))
			return errinfo_set(errinfo, -EINVAL,
				"'%s' is not a server: write an IPv6 address in brackets, "
				"\"[address]\" or \"[address]:port\"",
				text);
	}
	if (end == host || (size_t)(end - host) >= sizeof(t.host))
		goto bad;
	memcpy(t.host, host, (size_t)(end - host));
	t.host[end - host] = '\0';
	if (strpbrk(t.host, " \t\n/"))
		goto bad;
	end += bracket;
	if (*end == ':' && parse_port(end + 1, &t.port))
		return errinfo_set(errinfo, -EINVAL,
			"'%s' is not a port: use a number from 1 to 65535", end + 1);
	t.local = is_local_name(t.host);
	*out = t;
	return 0;
bad:
	return errinfo_set(errinfo, -EINVAL,
		"'%s' is not a server: write \"host\" or \"host:port\", IPv6 in brackets", text);
}

/* Is there such a device? The error lists what there is. */
static int check_device(const char *device, struct errinfo *errinfo)
{
	struct ibv_device **list;
	char names[256] = "";
	bool found = false;
	size_t n = 0;
	int count = 0, rc;

	/* libibverbs looks for its drivers once: if it cannot read what there is, it never has any. */
	rc = denial_of_descriptors(DENIAL_CONNECTION_DESCRIPTORS, errinfo);
	if (rc)
		return rc;
	list = ibv_get_device_list(&count);
	if (!list && errno == ENOMEM)
		return errinfo_set(errinfo, -ENOMEM, "ibv_get_device_list: out of memory");
	for (int i = 0; list && i < count; i++) {
		const char *name = ibv_get_device_name(list[i]);

		found = found || (device && strcmp(name, device) == 0);
		if (n < sizeof(names))
			n += (size_t)snprintf(
				names + n, sizeof(names) - n, "%s%s", n ? ", " : "", name);
	}
	if (list)
		ibv_free_device_list(list);
	rc = list && count > 0 ? 0 : denial_of_devices(errinfo);
	if (rc)
		return rc;
	if (!list || count == 0)
		return errinfo_set(errinfo, -ENODEV,
			"this machine has no RDMA device: see 'rdma link'; a network interface can "
			"be made one with 'rdma link add rxe0 type rxe netdev IFACE'");
	if (device && !found)
		return errinfo_set(errinfo, -ENODEV,
			"there is no RDMA device '%s' here; there is: %s", device, names);
	return 0;
}

static bool same_device(const struct rdma_cm_id *id, const char *device)
{
	return id->verbs &&
	       (!device || strcmp(ibv_get_device_name(id->verbs->device), device) == 0);
}

/* Does the connection manager put this address on that device (NULL: on any)? 0: yes; -ENOENT: no. */
static int check_address(
	struct rdma_event_channel *channel, struct sockaddr *addr, const char *device)
{
	struct rdma_cm_id *id;
	bool yes;

	if (rdma_create_id(channel, &id, NULL, RDMA_PS_TCP))
		return errno ? -errno : -EIO;
	yes = rdma_bind_addr(id, addr) == 0 && same_device(id, device);
	rdma_destroy_id(id);
	return yes ? 0 : -ENOENT;
}

/* The first address of a family that belongs to a device. -ENOENT: none; others: nobody knows. */
static int find_local(const char *device, int family, struct sockaddr_storage *out)
{
	struct rdma_event_channel *channel;
	struct ifaddrs *list, *i;
	int rc = -ENOENT;

	channel = rdma_create_event_channel();
	if (!channel)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : -ENODEV;
	if (getifaddrs(&list)) {
		rc = errno ? -errno : -EIO;
		rdma_destroy_event_channel(channel);
		return rc;
	}
	for (i = list; i && rc == -ENOENT; i = i->ifa_next) {
		struct sockaddr_storage addr = { 0 };
		size_t size = family == AF_INET ? sizeof(struct sockaddr_in)
						: sizeof(struct sockaddr_in6);

		if (!i->ifa_addr || i->ifa_addr->sa_family != family)
			continue;
		memcpy(&addr, i->ifa_addr, size);
		if (family == AF_INET &&
			ntohl(((struct sockaddr_in *)&addr)->sin_addr.s_addr) >> 24 == 127)
			continue;
		if (family == AF_INET6 &&
			(IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *)&addr)->sin6_addr) ||
				IN6_IS_ADDR_LINKLOCAL(&((struct sockaddr_in6 *)&addr)->sin6_addr)))
			continue;
		rc = check_address(channel, (struct sockaddr *)&addr, device);
		if (rc == 0)
			*out = addr;
	}
	freeifaddrs(list);
	rdma_destroy_event_channel(channel);
	return rc;
}

static void set_port(struct sockaddr_storage *addr, uint16_t port)
{
	if (addr->ss_family == AF_INET)
		((struct sockaddr_in *)addr)->sin_port = htons(port);
	else
		((struct sockaddr_in6 *)addr)->sin6_port = htons(port);
}

/* rc: what find_local() said. */
static int no_address(int rc, const char *device, struct errinfo *errinfo)
{
	if (rc != -ENOENT && rc != -ENODEV)
		return denial_explain(
			DENIED_DEVICE, rc, "looking for this machine's RDMA address", errinfo);
	return errinfo_set(errinfo, -ENODEV,
		"%s%s has no IP address: give its network interface one and bring it up",
		device ? "RDMA device " : "no RDMA device here", device ? device : "");
}

static int resolve_local(const struct target *t, const char *device, struct target_path *path,
	struct errinfo *errinfo)
{
	struct sockaddr_storage addr;
	int rc = find_local(device, AF_INET, &addr);

	if (rc == -ENOENT)
		rc = find_local(device, AF_INET6, &addr);
	if (rc)
		return no_address(rc, device, errinfo);
	memset(path, 0, sizeof(*path));
	path->destination = addr;
	set_port(&path->destination, t->port);
	if (device)
		path->source = addr;
	return 1;
}

/* ---- names ---- */

/* A name that is looked up, however long that takes. */
struct question {
	struct errand errand; /* first */
	char host[TARGET_HOST_SIZE];
	struct addrinfo *answer;
	int rc; /* of getaddrinfo() */
};

static const struct addrinfo any_family = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };

static void ask(struct errand *e)
{
	struct question *q = (struct question *)e;

	q->rc = getaddrinfo(q->host, NULL, &any_family, &q->answer);
}

static void question_destroy(struct errand *e)
{
	struct question *q = (struct question *)e;

	if (q->answer)
		freeaddrinfo(q->answer);
	free(q);
}

static int explain_name(int rc, const char *host, struct errinfo *errinfo)
{
	return errinfo_set(errinfo, rc == EAI_MEMORY ? -ENOMEM : -EHOSTUNREACH,
		"cannot find the address of '%s': %s; check the name (getent hosts), or give the "
		"address itself",
		host, gai_strerror(rc));
}

/* Ask those who know names: a name server may be silent, and getaddrinfo() has no limit of ours. */
static int look_up(
	const char *host, uint64_t deadline_ns, struct addrinfo **out, struct errinfo *errinfo)
{
	struct question *q = calloc(1, sizeof(*q));
	int rc;

	if (!q)
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	q->errand.run = ask;
	q->errand.destroy = question_destroy;
	q->errand.name = "rmem-lookup";
	snprintf(q->host, sizeof(q->host), "%s", host);
	rc = errand_start(&q->errand, errinfo);
	if (rc == 0)
		rc = errand_wait(&q->errand, deadline_ns);
	if (rc == -ETIMEDOUT)
		errinfo_set(errinfo, rc,
			"nobody says in time what the address of '%s' is: do the name servers "
			"answer (/etc/resolv.conf)? Or give the address instead",
			host);
	else if (rc == 0 && q->rc)
		rc = explain_name(q->rc, host, errinfo);
	if (rc == 0) {
		*out = q->answer;
		q->answer = NULL;
	}
	errand_leave(&q->errand);
	return rc;
}

/* What is written as an address needs no name server. */
static int find_addresses(
	const char *host, uint64_t deadline_ns, struct addrinfo **out, struct errinfo *errinfo)
{
	struct addrinfo hints = any_family;
	int rc;

	hints.ai_flags = AI_NUMERICHOST;
	rc = getaddrinfo(host, NULL, &hints, out);
	if (rc == EAI_NONAME)
		return look_up(host, deadline_ns, out, errinfo);
	return rc ? explain_name(rc, host, errinfo) : 0;
}

int target_resolve(const struct target *t, const char *device, uint64_t deadline_ns,
	struct target_path paths[TARGET_PATHS_MAX], struct errinfo *errinfo)
{
	struct addrinfo *list, *i;
	int rc, n = 0, local = -ENOENT;

	rc = check_device(device, errinfo);
	if (rc)
		return rc;
	if (t->local)
		return resolve_local(t, device, &paths[0], errinfo);
	rc = find_addresses(t->host, deadline_ns, &list, errinfo);
	if (rc)
		return rc;
	for (i = list; i && n < TARGET_PATHS_MAX; i = i->ai_next) {
		if (i->ai_family != AF_INET && i->ai_family != AF_INET6)
			continue;
		memset(&paths[n], 0, sizeof(paths[n]));
		memcpy(&paths[n].destination, i->ai_addr, i->ai_addrlen);
		set_port(&paths[n].destination, t->port);
		local = device ? find_local(device, i->ai_family, &paths[n].source) : 0;
		if (local == 0)
			n++;
	}
	freeaddrinfo(list);
	return n ? n : no_address(local, device, errinfo);
}

const char *target_format(const struct sockaddr_storage *addr, char buf[TARGET_TEXT_SIZE])
{
	char text[INET6_ADDRSTRLEN] = "?";

	if (addr->ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)addr;

		inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
		snprintf(buf, TARGET_TEXT_SIZE, "%s:%u", text, ntohs(v4->sin_port));
	} else {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)addr;

		inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
		snprintf(buf, TARGET_TEXT_SIZE, "[%s]:%u", text, ntohs(v6->sin6_port));
	}
	return buf;
}
