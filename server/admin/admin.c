/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/admin/admin.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

#include "common/log.h"
#include "common/message.h"
#include "common/denial.h"
#include "server/admin/commands.h"
#include "server/admin/orders.h"
#include "server/base/options.h"

#define CLIENTS_MAX 32
#define IDLE_SECONDS 60
#define RETRY_SECONDS 1

/* One rmemctl on the socket. */
struct client {
	struct question question; /* first */
	struct admin *admin;
	struct bufferevent *stream;
	struct rights rights;
	bool asking; /* one request at a time; the next line waits */
	bool ended;  /* sent end of file; may still be owed answers */
	struct client *prev, *next;
};

struct admin {
	struct event_base *base;
	const struct options *options;
	struct evconnlistener *listener;
	struct client *clients;
	unsigned nclients;
	struct commands *commands;
	struct event *retry;
	bool refused; /* the last accept(2) failed */
};

static void drop(struct client *client)
{
	struct admin *a = client->admin;

	wait_cancel(&client->question.wait);
	DL_DELETE(a->clients, client);
	a->nclients--;
	bufferevent_free(client->stream);
	free(client);
}

static const char no_memory[] = "{\"schema\":1,\"error\":{\"code\":\"ENOMEM\",\"message\":\"rmemd "
				"has no memory for the answer\"}}";

static void free_answer(const void *text, size_t bytes, void *arg)
{
	(void)text;
	(void)bytes;
	free(arg);
}

/* The text is not copied: it may be megabytes long. */
static void on_answer(struct question *q, char *text)
{
	struct client *client = (struct client *)q;
	struct evbuffer *out = bufferevent_get_output(client->stream);

	client->asking = false;
	if (text && evbuffer_add_reference(out, text, strlen(text), free_answer, text)) {
		free(text);
		text = NULL;
	}
	if (!text)
		evbuffer_add(out, no_memory, sizeof(no_memory) - 1);
	evbuffer_add(out, "\n", 1);
}

static bool is_answered(const struct client *client)
{
	return !client->asking && evbuffer_get_length(bufferevent_get_output(client->stream)) == 0;
}

/*
 * Serve the complete lines that have arrived, each only after the previous answer was written out: a client that asks
 * without reading fills its own memory, not ours. False: drop the client.
 */
static bool serve(struct client *client)
{
	struct evbuffer *in = bufferevent_get_input(client->stream);

	while (is_answered(client)) {
		char *line = evbuffer_readln(in, NULL, EVBUFFER_EOL_CRLF);

		if (!line) /* drop a client whose line does not end */
			return evbuffer_get_length(in) <= REPORT_REQUEST_SIZE;
		client->asking = true;
		if (strlen(line) >= REPORT_REQUEST_SIZE)
			line[REPORT_REQUEST_SIZE] =
				'\0'; /* JSON cut short is invalid: an error answer */
		commands_ask(client->admin->commands, line, &client->rights, &client->question,
			on_answer);
		free(line);
	}
	return true;
}

static void on_read(struct bufferevent *stream, void *arg)
{
	(void)stream;
	if (!serve(arg))
		drop(arg);
}

/* The answer is written out: serve the next request, if any. */
static void on_written(struct bufferevent *stream, void *arg)
{
	struct client *client = arg;

	(void)stream;
	if (!serve(client) || (client->ended && is_answered(client)))
		drop(client);
}

/* End of file, an error, or idle for too long. */
static void on_event(struct bufferevent *stream, short what, void *arg)
{
	struct client *client = arg;

	client->ended = what == (BEV_EVENT_READING | BEV_EVENT_EOF);
	if (!client->ended || is_answered(client))
		drop(client);
	else
		bufferevent_disable(stream, EV_READ);
}

/* The socket's group may read and acknowledge; orders are for its owner, and root. */
static struct rights rights_of(int fd)
{
	struct rights rights = { .acknowledge = true, .uid = UINT32_MAX };
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
		return rights;
	rights.uid = peer.uid;
	rights.order = peer.uid == 0 || peer.uid == geteuid();
	return rights;
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
	int size, void *arg)
{
	static const struct timeval idle = { .tv_sec = IDLE_SECONDS };
	struct admin *a = arg;
	struct client *client = a->nclients < CLIENTS_MAX ? calloc(1, sizeof(*client)) : NULL;

	a->refused = false;
	(void)listener;
	(void)address;
	(void)size;
	if (!client) {
		log_warn(
			"the admin socket has %u clients: another one is turned away", a->nclients);
		close(fd);
		return;
	}
	client->admin = a;
	client->rights = rights_of(fd);
	client->stream = bufferevent_socket_new(a->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!client->stream) {
		free(client);
		close(fd);
		return;
	}
	DL_APPEND(a->clients, client);
	a->nclients++;
	bufferevent_setcb(client->stream, on_read, on_written, on_event, client);
	bufferevent_setwatermark(client->stream, EV_READ, 0, (size_t)4 * REPORT_REQUEST_SIZE);
	bufferevent_set_timeouts(client->stream, &idle, &idle);
	bufferevent_enable(client->stream, EV_READ | EV_WRITE);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct admin *a = arg;

	(void)fd;
	(void)what;
	evconnlistener_enable(a->listener);
}

/* Pause: libevent would otherwise retry accept(2) at once, forever. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	static const struct timeval pause = { .tv_sec = RETRY_SECONDS };
	struct admin *a = arg;
	struct errinfo errinfo;

	if (!a->refused)
		(void)denial_explain(
			DENIED_FILE, -errno, "nobody can be served on the admin socket", &errinfo);
	if (!a->refused)
		log_warn("%s", errinfo.text);
	a->refused = true;
	if (event_add(a->retry, &pause) == 0)
		evconnlistener_disable(listener);
}

/* A killed rmemd leaves a socket file without a listener. */
static int remove_stale(const struct sockaddr_un *address, struct errinfo *errinfo)
{
	/* Nonblocking: EAGAIN means that an rmemd listens but does not accept, perhaps because it is stopped. */
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int ret = fd < 0 ? -1 : connect(fd, (const struct sockaddr *)address, sizeof(*address));
	int err = errno;
	struct stat st;

	if (fd >= 0)
		close(fd);
	if (ret == 0 || err == EAGAIN)
		return errinfo_set(errinfo, -EADDRINUSE,
			"another rmemd answers on %s: choose another --port or --admin",
			address->sun_path);
	if (err == ECONNREFUSED && lstat(address->sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(address->sun_path);
	return 0;
}

/* Make a missing directory only for the default path: an operator's path may be mistyped. */
static int prepare_directory(const struct options *o, struct errinfo *errinfo)
{
	char parent[sizeof(o->admin_socket)];
	char *slash;

	snprintf(parent, sizeof(parent), "%s", o->admin_socket);
	slash = strrchr(parent, '/');
	if (!slash || slash == parent)
		return 0;
	*slash = '\0';
	if (o->admin_named && access(parent, F_OK) && errno == ENOENT)
		return errinfo_set(errinfo, -ENOENT,
			"the admin socket's directory %s does not exist: make it, or name another "
			"with --admin",
			parent);
	if (!o->admin_named && mkdir(parent, 0755) && errno != EEXIST)
		log_debug("cannot make %s: %s", parent, strerror(errno));
	return 0;
}

static int listen_on(struct admin *a, const char *path, struct errinfo *errinfo)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	mode_t mask;
	int err;

	if (strlen(path) >= sizeof(address.sun_path))
		return errinfo_set(errinfo, -ENAMETOOLONG,
			"the admin socket's path is longer than %zu bytes",
			sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, strlen(path) + 1);
	err = prepare_directory(a->options, errinfo);
	if (!err)
		err = remove_stale(&address, errinfo);
	if (err)
		return err;
	mask = umask(0117); /* owner and group */
	a->listener = evconnlistener_new_bind(a->base, on_accept, a,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 16, (struct sockaddr *)&address,
		sizeof(address));
	err = -errno;
	umask(mask);
	if (!a->listener)
		return errinfo_set(errinfo, err,
			"cannot listen on the admin socket %s: %s; name another with --admin", path,
			strerror(-err));
	evconnlistener_set_error_cb(a->listener, on_accept_error);
	return 0;
}

int admin_start(struct event_base *base, const struct options *o, struct commands *commands,
	struct admin **out, struct errinfo *errinfo)
{
	struct admin *a = calloc(1, sizeof(*a));
	int err;

	if (!a)
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	a->base = base;
	a->options = o;
	a->commands = commands;
	a->retry = evtimer_new(base, on_retry, a);
	err = a->retry ? listen_on(a, o->admin_socket, errinfo)
		       : errinfo_set(errinfo, -ENOMEM, "out of memory");
	if (err) {
		admin_stop(a);
		return err;
	}
	*out = a;
	return 0;
}

void admin_stop(struct admin *a)
{
	struct client *client, *tmp;

	if (!a)
		return;
	DL_FOREACH_SAFE (a->clients, client, tmp)
		drop(client);
	if (a->listener) {
		evconnlistener_free(a->listener);
		unlink(a->options->admin_socket);
	}
	if (a->retry)
		event_free(a->retry);
	free(a);
}
