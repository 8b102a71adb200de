/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rmemctl program on a unix socket: what it asks, what it prints and its exit status, with a
 * server that answers from tests/golden/ or misbehaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_SIZE 96
#define TEXT_SIZE 65536
#define ARGS_MAX 12

enum behaviour { ANSWER, CUT, GARBAGE, HANG_UP, SILENT, ENDLESS };

struct fixture {
	char dir[PATH_SIZE - 32];
	char socket[PATH_SIZE];
};

struct outcome {
	int status;
	char out[TEXT_SIZE], err[TEXT_SIZE];
};

static size_t slurp(const char *path, char buf[TEXT_SIZE])
{
	FILE *file = fopen(path, "r");
	size_t n;

	assert_non_null(file);
	n = fread(buf, 1, TEXT_SIZE - 1, file);
	buf[n] = '\0';
	fclose(file);
	return n;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/test_rmemctl.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->socket, sizeof(f->socket), "%s/socket", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = { "socket", "out", "err", "request" };
	struct fixture *f = *state;
	char path[PATH_SIZE];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
		unlink(path);
	}
	rmdir(f->dir);
	free(f);
	return 0;
}

static void send_text(int fd, const char *text, size_t size)
{
	while (size > 0) {
		ssize_t n = send(fd, text, size, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		text += n;
		size -= (size_t)n;
	}
}

/* A golden answer on one line, as rmemd sends it. */
static void send_answer(int fd, const char *name, bool whole)
{
	static char text[TEXT_SIZE];
	char path[512];
	size_t n;

	snprintf(path, sizeof(path), TESTS_DIR "/golden/%s.json", name);
	n = slurp(path, text);
	if (n == 0)
		return;
	for (size_t i = 0; i < n; i++) {
		if (text[i] == '\n')
			text[i] = ' ';
	}
	text[n - 1] = '\n';
	send_text(fd, text, whole ? n : n / 2);
}

/* Of several requests all are kept. */
static ssize_t serve_one(const struct fixture *f, int fd, enum behaviour b, const char *name)
{
	static char junk[TEXT_SIZE];
	char path[PATH_SIZE], request[1024];
	ssize_t n = b == HANG_UP ? 0 : read(fd, request, sizeof(request));
	FILE *file;

	snprintf(path, sizeof(path), "%s/request", f->dir);
	file = fopen(path, "a");
	if (file && n > 0)
		fwrite(request, 1, (size_t)n, file);
	if (file)
		fclose(file);
	memset(junk, 'x', sizeof(junk));
	if (b == ANSWER || b == CUT)
		send_answer(fd, name, b == ANSWER);
	else if (b == GARBAGE)
		send_text(fd, "220 mail ESMTP\r\n", 16);
	else if (b == ENDLESS)
		for (int i = 0; i < 1100; i++)
			send_text(fd, junk, sizeof(junk));
	else if (b == SILENT)
		n = read(fd, request, sizeof(request)); /* until it hangs up */
	close(fd);
	return n;
}

/* names: of an answer for each request, separated by blanks. Nobody listens any more when the last is given. */
static void serve(const struct fixture *f, int listener, enum behaviour b, const char *names)
{
	char copy[128], *name = copy, *end;
	ssize_t n = 0;

	alarm(30); /* nobody asks as often as was expected */
	snprintf(copy, sizeof(copy), "%s", names);
	for (; name && n >= 0; name = end) {
		int fd = accept(listener, NULL, NULL);

		end = strchr(name, ' ');
		if (end)
			*end++ = '\0';
		else
			close(listener);
		n = serve_one(f, fd, b, name);
	}
	_exit(n < 0);
}

static pid_t start_server(const struct fixture *f, enum behaviour b, const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char path[PATH_SIZE];
	pid_t pid;

	assert_true(listener >= 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", f->socket);
	unlink(f->socket);
	snprintf(path, sizeof(path), "%s/request", f->dir);
	unlink(path);
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(listener, 1), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		serve(f, listener, b, name);
	close(listener);
	return pid;
}

static int wait_exit(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void redirect(const char *path, int fd)
{
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (file < 0 || dup2(file, fd) < 0)
		_exit(125);
}

/* In the child. words: separated by single blanks; "SOCKET" stands for the server's. */
static void become(const struct fixture *f, const char *words)
{
	char copy[256], *argv[ARGS_MAX] = { NULL }, *save = NULL;
	size_t argc = 0;

	snprintf(copy, sizeof(copy), "rmemctl %s", words);
	for (char *w = strtok_r(copy, " ", &save); w && argc + 1 < ARGS_MAX;
		w = strtok_r(NULL, " ", &save))
		argv[argc++] = strcmp(w, "SOCKET") ? w : (char *)f->socket;
	execv(BIN_DIR "/rmemctl", argv);
	_exit(126);
}

static void run_with(const struct fixture *f, const char *words, int input, struct outcome *o)
{
	char out[PATH_SIZE], err[PATH_SIZE];
	pid_t pid;

	snprintf(out, sizeof(out), "%s/out", f->dir);
	snprintf(err, sizeof(err), "%s/err", f->dir);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(input, STDIN_FILENO);
		redirect(out, STDOUT_FILENO);
		redirect(err, STDERR_FILENO);
		become(f, words);
	}
	o->status = wait_exit(pid);
	slurp(out, o->out);
	slurp(err, o->err);
}

/* Without a terminal. */
static void run(const struct fixture *f, const char *words, struct outcome *o)
{
	int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(nothing >= 0);
	run_with(f, words, nothing, o);
	close(nothing);
}

/* With RMEM_GOLDEN_UPDATE=1 what is printed becomes what is expected, as in test_render. */
static void assert_prints(const struct outcome *o, const char *golden)
{
	static char expected[TEXT_SIZE];
	char path[512];

	snprintf(path, sizeof(path), TESTS_DIR "/golden/%s.txt", golden);
	if (getenv("RMEM_GOLDEN_UPDATE")) {
		FILE *file = fopen(path, "w");

		assert_non_null(file);
		assert_true(fputs(o->out, file) >= 0);
		assert_int_equal(fclose(file), 0);
	}
	slurp(path, expected);
	assert_string_equal(o->out, expected);
	assert_string_equal(o->err, "");
}

static void assert_asked(const struct fixture *f, const char *request)
{
	static char text[TEXT_SIZE];
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "%s/request", f->dir);
	slurp(path, text);
	assert_string_equal(text, request);
}

struct conversation {
	const char *words, *answer, *request, *expected;
	int status;
};

static const struct conversation conversations[] = {
	{ "--admin SOCKET leaks", "leaks-kinds", "{\"cmd\":\"leaks\",\"audit\":\"last\"}\n",
		"leaks-kinds", 1 },
	{ "leaks --admin SOCKET", "leaks-clean", "{\"cmd\":\"leaks\",\"audit\":\"last\"}\n",
		"leaks-clean", 0 },
	{ "leaks --admin SOCKET", "leaks-unaccounted", "{\"cmd\":\"leaks\",\"audit\":\"last\"}\n",
		"leaks-unaccounted", 1 },
	{ "leaks --audit --admin SOCKET", "leaks-clean", "{\"cmd\":\"leaks\",\"audit\":\"new\"}\n",
		"leaks-clean", 0 },
	{ "leaks --admin SOCKET", "leaks-last", "{\"cmd\":\"leaks\",\"audit\":\"last\"}\n",
		"leaks-last", 1 },
	{ "leaks --admin SOCKET", "leaks-first", "{\"cmd\":\"leaks\",\"audit\":\"last\"}\n",
		"leaks-first", 0 },
	{ "leaks --audit --admin SOCKET", "leaks-first", "{\"cmd\":\"leaks\",\"audit\":\"new\"}\n",
		"leaks-first-asked", 0 },
	/* what is not shown is still judged */
	{ "leaks --kinds limbo --admin SOCKET", "leaks-kinds",
		"{\"cmd\":\"leaks\",\"audit\":\"last\"}\n", "leaks-kinds-limbo", 1 },
	{ "-T 1 leaks --admin SOCKET", "leaks-kinds", "{\"cmd\":\"leaks\",\"audit\":\"last\"}\n",
		"leaks-kinds-top", 1 },
	{ "leaks --admin SOCKET", "leaks-unacknowledged",
		"{\"cmd\":\"leaks\",\"audit\":\"last\"}\n", "leaks-unacknowledged", 1 },
	{ "leaks --admin SOCKET", "leaks-acknowledged", "{\"cmd\":\"leaks\",\"audit\":\"last\"}\n",
		"leaks-acknowledged", 0 },
	{ "leaks --reclaimed --admin SOCKET", "reclaimed",
		"{\"cmd\":\"reclaimed\",\"limit\":256}\n", "reclaimed", 0 },
	{ "--limit 2 --reclaimed --admin SOCKET leaks", "reclaimed-cut",
		"{\"cmd\":\"reclaimed\",\"limit\":2}\n", "reclaimed-cut", 0 },
	{ "leaks --ack 17 --admin SOCKET", "acknowledged-one",
		"{\"cmd\":\"acknowledge\",\"id\":17}\n", "acknowledged-one", 0 },
	{ "leaks --ack all --admin SOCKET", "acknowledged-all",
		"{\"cmd\":\"acknowledge\",\"id\":\"all\"}\n", "acknowledged-all", 0 },
	{ "status --admin SOCKET", "status", "{\"cmd\":\"status\"}\n", "status", 0 },
	{ "numastat --admin SOCKET", "numastat", "{\"cmd\":\"numastat\"}\n", "numastat", 0 },
	{ "slabinfo --admin SOCKET", "slabinfo", "{\"cmd\":\"slabinfo\"}\n", "slabinfo", 0 },
	{ "buddyinfo --admin SOCKET", "buddyinfo", "{\"cmd\":\"buddyinfo\"}\n", "buddyinfo", 0 },
	{ "sessions --admin SOCKET", "sessions", "{\"cmd\":\"sessions\"}\n", "sessions", 0 },
	{ "map --admin SOCKET", "map", "{\"cmd\":\"map\",\"limit\":1000}\n", "map", 0 },
	{ "map --admin SOCKET --limit 5 --node 1", "map",
		"{\"cmd\":\"map\",\"limit\":5,\"node\":1}\n", "map-node1", 0 },
	{ "sessions -o wide --admin SOCKET", "sessions", "{\"cmd\":\"sessions\"}\n",
		"sessions-wide", 0 },
	{ "sessions --sort host --limit 2 --admin SOCKET", "sessions", "{\"cmd\":\"sessions\"}\n",
		"sessions-sorted", 0 },
	{ "sessions --job etl-992 --admin SOCKET", "sessions", "{\"cmd\":\"sessions\"}\n",
		"sessions-job", 0 },
	{ "sessions --session ABab --admin SOCKET", "sessions", "{\"cmd\":\"sessions\"}\n",
		"sessions-session", 0 },
	{ "sessions --uid 7 --admin SOCKET", "sessions", "{\"cmd\":\"sessions\"}\n",
		"sessions-nobody", 0 },
	{ "sessions --older 8001ms --admin SOCKET", "sessions", "{\"cmd\":\"sessions\"}\n",
		"sessions-older", 0 },
	{ "sessions --min-bytes 6000 --admin SOCKET", "sessions", "{\"cmd\":\"sessions\"}\n",
		"sessions-large", 0 },
	{ "leaks --audit --session ab --admin SOCKET", "leaks-kinds",
		"{\"cmd\":\"leaks\",\"audit\":\"new\"}\n", "leaks-kinds-session", 1 },
	{ "leaks --fail-shown --site nobody --admin SOCKET", "leaks-kinds",
		"{\"cmd\":\"leaks\",\"audit\":\"last\"}\n", "leaks-kinds-nothing", 0 },
	{ "leaks --reclaimed --uid 0 --admin SOCKET", "reclaimed",
		"{\"cmd\":\"reclaimed\",\"limit\":4096}\n", "reclaimed-uid", 0 },
	{ "leaks --reclaimed --site load_all --admin SOCKET", "reclaimed",
		"{\"cmd\":\"reclaimed\",\"limit\":4096}\n", "reclaimed-site", 0 },
	{ "leaks --reclaimed --job etl-991 --admin SOCKET", "reclaimed",
		"{\"cmd\":\"reclaimed\",\"limit\":4096}\n", "reclaimed-job", 0 },
	{ "leaks --reclaimed --min-bytes 12K --admin SOCKET", "reclaimed",
		"{\"cmd\":\"reclaimed\",\"limit\":4096}\n", "reclaimed-large", 0 },
	/* to choose, all are needed */
	{ "map --min-bytes 12289 --admin SOCKET", "map", "{\"cmd\":\"map\",\"limit\":65536}\n",
		"map-large", 0 },
	{ "map --older 240001ms --admin SOCKET", "map", "{\"cmd\":\"map\",\"limit\":65536}\n",
		"map-older", 0 },
	{ "map --session 1a2b --admin SOCKET", "map", "{\"cmd\":\"map\",\"limit\":65536}\n",
		"map-session", 0 },
	{ "map --sort bytes --limit 1 --admin SOCKET", "map", "{\"cmd\":\"map\",\"limit\":65536}\n",
		"map-sorted", 0 },
	{ "leaks --reclaimed --sort bytes --limit 2 --admin SOCKET", "reclaimed",
		"{\"cmd\":\"reclaimed\",\"limit\":4096}\n", "reclaimed-sorted", 0 },
	{ "leaks --host n13 --fail-shown --admin SOCKET", "leaks-kinds",
		"{\"cmd\":\"leaks\",\"audit\":\"last\"}\n", "leaks-kinds-host", 0 },
	{ "leaks --host n13 --fail-older 11m --admin SOCKET", "leaks-kinds",
		"{\"cmd\":\"leaks\",\"audit\":\"last\"}\n", "leaks-kinds-host", 1 },
	{ "leaks --host n13 --fail-older 12m --admin SOCKET", "leaks-kinds",
		"{\"cmd\":\"leaks\",\"audit\":\"last\"}\n", "leaks-kinds-host", 0 },
	{ "revoke 0x9e00000000001010 -y --admin SOCKET", "revoke",
		"{\"cmd\":\"revoke\",\"addr\":\"0x9e00000000001010\"}\n", "revoke", 0 },
	{ "evict AbAb --yes --admin SOCKET", "evict", "{\"cmd\":\"evict\",\"session\":\"AbAb\"}\n",
		"evict", 0 },
	{ "reclaim --yes --admin SOCKET", "reclaim", "{\"cmd\":\"reclaim\"}\n", "reclaim", 0 },
	{ "resize --size 8G --admin SOCKET", "resize", "{\"cmd\":\"resize\",\"size\":\"8G\"}\n",
		"resize", 0 },
	{ "resize --node 0 --size 2G --admin SOCKET", "resize-smaller",
		"{\"cmd\":\"resize\",\"node\":0,\"size\":\"2G\"}\n", "resize-smaller", 0 },
	{ "quota --admin SOCKET", "quota", "{\"cmd\":\"quota\"}\n", "quota", 0 },
	{ "quota --session bytes=8G --job etl:blocks=3 --admin SOCKET", "quota",
		"{\"cmd\":\"quota\",\"session\":\"bytes=8G\",\"job\":\"etl:blocks=3\"}\n", "quota",
		0 },
	{ "log-level debug --admin SOCKET", "log-level",
		"{\"cmd\":\"log-level\",\"level\":\"debug\"}\n", "log-level", 0 },
	{ "audit --admin SOCKET", "audit", "{\"cmd\":\"audit\"}\n", "audit", 0 },
	{ "who-holds 0x9e00000000001010 --admin SOCKET", "who-holds",
		"{\"cmd\":\"who-holds\",\"addr\":\"0x9e00000000001010\"}\n", "who-holds", 0 },
};

static void test_reports(void **state)
{
	struct fixture *f = *state;
	static struct outcome o;

	for (size_t i = 0; i < sizeof(conversations) / sizeof(conversations[0]); i++) {
		pid_t server = start_server(f, ANSWER, conversations[i].answer);

		run(f, conversations[i].words, &o);
		assert_int_equal(wait_exit(server), 0);
		assert_asked(f, conversations[i].request);
		assert_prints(&o, conversations[i].expected);
		assert_int_equal(o.status, conversations[i].status);
	}
}

/* "9f3a1c02 51c0ffee": the records of an answer. */
static void list_records(const json_t *answer, char *buf, size_t size)
{
	json_t *record;
	size_t i, n = 0;

	buf[0] = '\0';
	json_array_foreach(json_object_get(answer, "records"), i, record)
	{
		n += (size_t)snprintf(buf + n, size - n, "%s%s", i ? " " : "",
			json_string_value(json_object_get(record, "id")));
		assert_true(n < size);
	}
}

struct selection {
	const char *words, *records;
	int hidden;
};

/* The records that are chosen, and all else as the server said it. */
static void check_selection(const struct selection *s, const char *printed, json_t *whole)
{
	json_t *answer = json_loads(printed, 0, NULL);
	char records[128];

	assert_non_null(answer);
	list_records(answer, records, sizeof(records));
	if (strcmp(records, s->records) != 0)
		fail_msg("%s: %s, expected %s", s->words, records, s->records);
	assert_int_equal(json_integer_value(json_object_get(answer, "records_hidden")), s->hidden);
	assert_int_equal(json_object_get(answer, "records_hidden") != NULL, s->hidden != 0);
	json_object_del(answer, "records_hidden");
	json_object_set(answer, "records", json_object_get(whole, "records"));
	assert_true(json_equal(answer, whole));
	json_decref(answer);
}

static void test_json_is_selected_like_text(void **state)
{
	static const struct selection all[] = {
		{ "", "9f3a1c02 0badf00d 51c0ffee 77aa0011", 0 },
		{ "--kinds definite,limbo,zombie ", "9f3a1c02 0badf00d 51c0ffee", 0 },
		{ "--kinds limbo ", "51c0ffee", 0 }, { "--kinds idle ", "", 0 },
		{ "--older 400s ", "9f3a1c02 0badf00d 77aa0011", 1 },
		{ "--older 401s ", "9f3a1c02 77aa0011", 2 }, { "--older 1d ", "", 4 },
		{ "--min-bytes 1M ", "9f3a1c02", 3 },
		{ "--session 1A2b ", "9f3a1c02 0badf00d 77aa0011", 1 },
		{ "--job etl-992 ", "9f3a1c02 77aa0011", 2 },
		{ "--uid 1001 --host n13 ", "51c0ffee", 3 }, { "--uid 0 ", "", 4 },
		{ "--site ingest_batch --node 0 ", "9f3a1c02 0badf00d 51c0ffee 77aa0011", 0 },
		{ "--site loader.c:212 ", "", 4 }, { "--node 1 ", "", 4 },
		{ "--sort age --limit 2 ", "9f3a1c02 77aa0011", 2 },
		{ "--kinds limbo,zombie --older 10s ", "0badf00d", 1 },
		{ "--top 1 --kinds zombie,limbo ", "0badf00d", 1 },
		{ "--limit 2 ", "9f3a1c02 0badf00d", 2 },
		{ "--top 2 ", "9f3a1c02 0badf00d", 2 }, /* as it was called */
	};
	struct fixture *f = *state;
	json_t *whole = json_load_file(TESTS_DIR "/golden/leaks-kinds.json", 0, NULL);
	static struct outcome o;
	char words[128];

	assert_non_null(whole);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		pid_t server = start_server(f, ANSWER, "leaks-kinds");

		snprintf(words, sizeof(words), "leaks %s--json --admin SOCKET", all[i].words);
		run(f, words, &o);
		assert_int_equal(wait_exit(server), 0);
		/* what is not shown is still judged */
		assert_int_equal(o.status, 1);
		assert_string_equal(o.err, "");
		check_selection(&all[i], o.out, whole);
	}
	json_decref(whole);
}

static void test_json_is_the_servers(void **state)
{
	struct fixture *f = *state;
	static struct outcome o;
	pid_t server = start_server(f, ANSWER, "leaks-kinds");
	const char *id, *kind;

	run(f, "leaks --json --admin SOCKET", &o);
	wait_exit(server);
	assert_int_equal(o.status, 1);
	assert_string_equal(o.err, "");
	/* the server's order of keys, and all kinds */
	id = strstr(o.out, "\"id\": \"9f3a1c02\"");
	kind = strstr(o.out, "\"kind\": \"definite\"");
	assert_non_null(id);
	assert_true(kind > id);
	assert_non_null(strstr(o.out, "\"kind\": \"reachable\""));
}

static void test_error_answer(void **state)
{
	struct fixture *f = *state;
	static struct outcome o;
	pid_t server = start_server(f, ANSWER, "error");

	run(f, "who-holds 0x9e00000000001000 --admin SOCKET", &o);
	wait_exit(server);
	assert_int_equal(o.status, 1);
	assert_string_equal(o.out, "nobody holds 0x9e00000000001000: it is free\n");
	assert_string_equal(o.err, "");
	server = start_server(f, ANSWER, "error");
	run(f, "who-holds 0x9e00000000001000 --json --admin SOCKET", &o);
	wait_exit(server);
	assert_int_equal(o.status, 1);
	assert_non_null(strstr(o.out, "\"code\": \"ENOENT\""));
	/* Of another report it is an error. */
	server = start_server(f, ANSWER, "error");
	run(f, "status --admin SOCKET", &o);
	wait_exit(server);
	assert_int_equal(o.status, 3);
	assert_string_equal(o.out, "");
	assert_non_null(strstr(o.err, "nobody holds 0x9e00000000001000: it is free\n"));
}

/* What makes the exit status 1 can be chosen, and then nothing need be read. */
static void test_fail_on(void **state)
{
	static const struct {
		const char *words, *answer;
		int status;
	} all[] = {
		{ "leaks -q --admin SOCKET", "leaks-kinds", 1 },
		{ "leaks --quiet --admin SOCKET", "leaks-clean", 0 },
		{ "status --quiet --admin SOCKET", "status", 0 },
		{ "leaks --ack all --quiet --admin SOCKET", "acknowledged-all", 0 },
		{ "leaks -q --fail-on zombie --admin SOCKET", "leaks-kinds", 1 },
		{ "leaks -q --fail-on indirect,idle --admin SOCKET", "leaks-kinds", 0 },
		{ "leaks -q --fail-on reachable --admin SOCKET", "leaks-clean", 1 },
		{ "leaks -q --fail-on all --admin SOCKET", "leaks-empty-pool", 0 },
		/* always */
		{ "leaks -q --fail-on indirect --admin SOCKET", "leaks-unaccounted", 1 },
		{ "leaks -q --fail-on indirect --admin SOCKET", "leaks-miscounted", 1 },
		{ "leaks -q --fail-on indirect --admin SOCKET", "leaks-unacknowledged", 1 },
	};
	struct fixture *f = *state;
	static struct outcome o;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		pid_t server = start_server(f, ANSWER, all[i].answer);

		run(f, all[i].words, &o);
		wait_exit(server);
		if (o.status != all[i].status)
			fail_msg("%s of %s: %d", all[i].words, all[i].answer, o.status);
		assert_string_equal(o.out, "");
		assert_string_equal(o.err, "");
	}
}

/* The reason is the server's; nothing is said to be done. */
static void test_cannot_acknowledge(void **state)
{
	static const struct {
		const char *words, *answer, *complaint;
	} all[] = {
		{ "leaks --ack 17 --admin SOCKET", "error-no-line",
			"rmemctl: there is no such line of history (any more)\n" },
		{ "leaks --ack all --admin SOCKET", "error-acknowledge-remote",
			"rmemctl: only on the admin socket of the server's host: history is not "
			"acknowledged over RDMA\n" },
		{ "leaks --ack all --admin SOCKET", "acknowledged-one",
			"rmemctl: the answer leaves some after all were acknowledged in "
			"\"unacknowledged\": this is not what an rmemd says\n" },
		{ "leaks --ack 17 --admin SOCKET", "leaks-clean",
			"rmemctl: the answer is not a reclaimed report: is it an rmemd?\n" },
	};
	struct fixture *f = *state;
	static struct outcome o;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		pid_t server = start_server(f, ANSWER, all[i].answer);

		run(f, all[i].words, &o);
		wait_exit(server);
		assert_int_equal(o.status, 3);
		assert_string_equal(o.out, "");
		assert_string_equal(o.err, all[i].complaint);
	}
}

/* For programs: exactly what the server said, and the status that the text has. */
static void test_history_as_json(void **state)
{
	static const struct {
		const char *words, *answer;
		int status;
	} all[] = {
		{ "leaks --json --admin SOCKET", "leaks-unacknowledged", 1 },
		{ "leaks --json --admin SOCKET", "leaks-acknowledged", 0 },
		{ "leaks --reclaimed --json --admin SOCKET", "reclaimed", 0 },
		{ "leaks --ack 17 --json --admin SOCKET", "acknowledged-one", 0 },
		{ "evict abab -y -j --admin SOCKET", "evict", 0 },
		{ "revoke 0x9e00000000001010 -y -j --admin SOCKET", "revoke", 0 },
		{ "reclaim -y -j --admin SOCKET", "reclaim", 0 },
		{ "resize --size 8G -j --admin SOCKET", "resize", 0 },
		{ "quota --session windows=9 -j --admin SOCKET", "quota", 0 },
		{ "log-level debug -j --admin SOCKET", "log-level", 0 },
		{ "audit -j --admin SOCKET", "audit", 0 },
		{ "sessions -j --admin SOCKET", "sessions", 0 },
		{ "who-holds 0x9e00000000001010 -j --admin SOCKET", "who-holds", 0 },
	};
	struct fixture *f = *state;
	static struct outcome o;
	char path[512];

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		pid_t server = start_server(f, ANSWER, all[i].answer);
		json_t *said, *printed;

		snprintf(path, sizeof(path), TESTS_DIR "/golden/%s.json", all[i].answer);
		said = json_load_file(path, 0, NULL);
		run(f, all[i].words, &o);
		wait_exit(server);
		assert_int_equal(o.status, all[i].status);
		assert_string_equal(o.err, "");
		printed = json_loads(o.out, 0, NULL);
		assert_true(said && json_equal(said, printed));
		json_decref(printed);
		json_decref(said);
	}
}

/* A terminal at which somebody has typed this. */
static int open_terminal(const char *typed, int *out_master)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;

	assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(slave >= 0);
	assert_int_equal(write(master, typed, strlen(typed)), strlen(typed));
	*out_master = master;
	return slave;
}

#define EVICT_PREVIEW "{\"cmd\":\"evict\",\"session\":\"abab\",\"preview\":true}\n"
#define EVICT_EXACTLY "{\"cmd\":\"evict\",\"session\":\"abababababababababababababababab\"}\n"
#define REVOKE(more) "{\"cmd\":\"revoke\",\"addr\":\"0x9e00000000001010\"" more "}\n"

/* What is shown is what is then done, and only after a yes. */
static void test_confirmation(void **state)
{
	static const struct {
		const char *words, *typed, *answers, *requests;
		int status;
		const char *out, *err;
	} all[] = {
		{ "evict abab", "y\n", "evict-preview evict", EVICT_PREVIEW EVICT_EXACTLY, 0,
			"session abab",
			"is to lose 6000 bytes (5.9 KiB) in 2 blocks for good\n   held by  "
			"reader[97] on n13" },
		{ "evict abab -j", "YES\n", "evict-preview evict", EVICT_PREVIEW EVICT_EXACTLY, 0,
			"{\n", "Go on? [y/N] " },
		{ "evict abab -q", "yes\n", "evict-preview evict", EVICT_PREVIEW EVICT_EXACTLY, 0,
			"", "Go on? [y/N] " },
		{ "evict abab", "n\n", "evict-preview", EVICT_PREVIEW, 1, "",
			"Go on? [y/N] rmemctl: nothing was done\n" },
		{ "evict abab", "\n", "evict-preview", EVICT_PREVIEW, 1, "", "nothing was done" },
		{ "evict abab", "\004", "evict-preview", EVICT_PREVIEW, 1, "", "nothing was done" },
		{ "evict abab", "yes, but\n", "evict-preview", EVICT_PREVIEW, 1, "",
			"nothing was done" },
		{ "revoke 0x9e00000000001010", "y\n", "revoke-preview revoke",
			REVOKE(",\"preview\":true") REVOKE(",\"id\":17"), 0, "is revoked",
			"   used by  2 other sessions\n" },
		{ "reclaim", "y\n", "reclaim-preview reclaim",
			"{\"cmd\":\"reclaim\",\"preview\":true}\n{\"cmd\":\"reclaim\"}\n", 0,
			"being taken back",
			"58726256 bytes (56.0 MiB) in 16 blocks of 19 sessions" },
		/* an answer that does something, is about another session, or is an error */
		{ "evict abab", "y\n", "evict", EVICT_PREVIEW, 3, "",
			"was to do nothing, but has no true in \"preview\"" },
		{ "evict abab", "y\n", "evict-two", EVICT_PREVIEW, 3, "",
			"has not one session in \"holders\"" },
		{ "evict abab", "y\n", "evict-hostile-names", EVICT_PREVIEW, 3, "",
			"has another session in \"holders\"" },
		{ "evict abab", "y\n", "error-not-owner", EVICT_PREVIEW, 3, "",
			"only root and the user that rmemd runs as may order that" },
	};
	struct fixture *f = *state;
	static struct outcome o;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		pid_t server = start_server(f, ANSWER, all[i].answers);
		int master, terminal = open_terminal(all[i].typed, &master);
		char words[128];

		snprintf(words, sizeof(words), "%s --admin SOCKET", all[i].words);
		run_with(f, words, terminal, &o);
		close(terminal);
		close(master);
		if (o.status != all[i].status || !strstr(o.err, all[i].err))
			fail_msg("%zu: status %d: %s", i, o.status, o.err);
		wait_exit(server);
		assert_int_equal(strncmp(o.out, all[i].out, strlen(all[i].out)) == 0 ||
					 strstr(o.out, all[i].out),
			1);
		assert_int_equal(o.out[0] == '\0', all[i].out[0] == '\0');
		assert_asked(f, all[i].requests);
	}
}

/* The program with its standard output in a pipe. */
static pid_t start_watch(const struct fixture *f, const char *words, int *out_fd)
{
	char err[PATH_SIZE];
	int pipes[2];
	pid_t pid;

	snprintf(err, sizeof(err), "%s/err", f->dir);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(pipes[1], STDOUT_FILENO);
		redirect(err, STDERR_FILENO);
		become(f, words);
	}
	close(pipes[1]);
	*out_fd = pipes[0];
	return pid;
}

static void read_until(int fd, const char *end)
{
	static char text[TEXT_SIZE];
	size_t used = 0;

	memset(text, 0, sizeof(text));
	while (!strstr(text, end)) {
		ssize_t n = read(fd, text + used, sizeof(text) - 1 - used);

		assert_true(n > 0);
		used += (size_t)n;
	}
	assert_int_equal(strncmp(text, "--- ", 4), 0);
}

static void assert_silent(const struct fixture *f)
{
	static char err[TEXT_SIZE];
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "%s/err", f->dir);
	slurp(path, err);
	assert_string_equal(err, "");
}

/* Again and again, until somebody interrupts it, or nobody reads it. */
static void test_watch(void **state)
{
	struct fixture *f = *state;
	static struct outcome o;
	const char *second;
	pid_t server, pid;
	int fd;

	server = start_server(f, ANSWER, "leaks-kinds");
	pid = start_watch(f, "leaks --watch=1h --admin SOCKET", &fd);
	wait_exit(server);
	read_until(fd, "UNACCOUNTED");
	assert_int_equal(kill(pid, SIGINT), 0);
	assert_int_equal(wait_exit(pid), 1);
	close(fd);
	assert_silent(f);

	server = start_server(f, ANSWER, "leaks-kinds");
	pid = start_watch(f, "leaks --watch 1h --admin SOCKET", &fd);
	wait_exit(server);
	read_until(fd, "UNACCOUNTED");
	close(fd);
	assert_int_equal(wait_exit(pid), 1);
	assert_silent(f);

	/* that nobody holds it is a report like any other */
	server = start_server(f, ANSWER, "error");
	pid = start_watch(f, "who-holds 0x9e00000000001000 --watch 1h --admin SOCKET", &fd);
	wait_exit(server);
	read_until(fd, "it is free\n");
	assert_int_equal(kill(pid, SIGINT), 0);
	assert_int_equal(wait_exit(pid), 1);
	close(fd);
	assert_silent(f);

	/* the third time there is nobody any more */
	server = start_server(f, ANSWER, "sessions sessions-none");
	run(f, "sessions --watch 1ms --admin SOCKET", &o);
	wait_exit(server);
	assert_int_equal(o.status, 3);
	assert_non_null(strstr(o.err, "no rmemd answers"));
	second = strstr(o.out + 1, "\n--- ");
	assert_non_null(second);
	assert_non_null(strstr(second, "\nno sessions\n"));
	assert_null(strstr(second + 1, "\n--- "));
}

static void test_no_such_node(void **state)
{
	static const char *const all[] = { "map --node 7 --admin SOCKET",
		"map --node 7 --json --admin SOCKET" };
	struct fixture *f = *state;
	static struct outcome o;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		pid_t server = start_server(f, ANSWER, "map");

		run(f, all[i], &o);
		wait_exit(server);
		assert_int_equal(o.status, 3);
		assert_string_equal(o.out, "");
		assert_string_equal(
			o.err, "rmemctl: the pool has no memory on node 7; it has on: 0, 1\n");
	}
}

static void test_bad_servers(void **state)
{
	static const struct {
		enum behaviour behaviour;
		const char *complaint;
	} all[] = {
		{ CUT, "hung up without a whole answer" },
		{ HANG_UP, "hung up without a whole answer" },
		{ GARBAGE, "not an rmemd" },
		{ SILENT, "did not answer in time" },
		{ ENDLESS, "longer than 64 MiB" },
	};
	struct fixture *f = *state;
	static struct outcome o;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		pid_t server = start_server(f, all[i].behaviour, "leaks-kinds");

		run(f,
			all[i].behaviour == SILENT ? "leaks --timeout 50ms --admin SOCKET"
						   : "leaks --admin SOCKET",
			&o);
		wait_exit(server);
		assert_int_equal(o.status, 3);
		assert_string_equal(o.out, "");
		assert_non_null(strstr(o.err, all[i].complaint));
	}
}

static void test_no_server(void **state)
{
	struct fixture *f = *state;
	static struct outcome o;

	run(f, "leaks --admin SOCKET", &o);
	assert_int_equal(o.status, 3);
	assert_non_null(strstr(o.err, "no rmemd answers on "));
	assert_non_null(strstr(o.err, "systemctl status rmemd"));
	/* a socket that a killed rmemd left behind */
	assert_int_equal(kill(start_server(f, SILENT, ""), SIGKILL), 0);
	wait(NULL);
	run(f, "leaks --admin SOCKET", &o);
	assert_int_equal(o.status, 3);
	assert_non_null(strstr(o.err, "no rmemd answers on "));
}

static const struct {
	const char *words, *complaint;
} wrong_words[] = {
	{ "", "want a command" },
	{ "leak", "no such command: leak" },
	{ "leaks sessions", "too many words: sessions" },
	{ "who-holds", "who-holds wants ADDR" },
	{ "who-holds 12zz", "who-holds 12zz" },
	{ "who-holds 0x10000000000000000", "who-holds 0x1" },
	{ "leaks --kinds leaky", "--kinds leaky" },
	{ "leaks -T 0", "--limit 0" },
	{ "leaks --top 0", "--top 0" },
	{ "leaks -o soon", "--older soon" },
	{ "leaks --min-bytes few", "--min-bytes few" },
	{ "leaks --fail-on bad", "--fail-on bad: want a list" },
	{ "map --quiet",
		"--quiet is an option of status, leaks, who-holds, audit, evict, revoke, reclaim, "
		"resize, quota, log-level and leaks --ack, not of map" },
	{ "leaks -T", "-T wants a value" },
	{ "leaks --blocks", "--blocks is an option of map, not of leaks" },
	{ "map --top 1", "--top is an option of leaks, not of map" },
	{ "status --limit 5", "--limit is an option of leaks, sessions, map and leaks "
			      "--reclaimed, not of "
			      "status" },
	{ "sessions -o wider", "--output wider: want wide, or a list of: wide session" },
	{ "sessions -o pid,", "--output pid,: want wide" },
	{ "sessions --sort age", "--sort age: want one of: bytes lent" },
	{ "leaks --sort host", "--sort host: want one of: bytes lent blocks age" },
	{ "leaks --session 12g", "--session 12g: want the first digits" },
	{ "leaks --uid -1", "--uid -1: want a number" },
	{ "leaks --fail-older soon", "--fail-older soon: want a duration" },
	{ "map --host n1", "--host is an option of leaks, sessions and leaks --reclaimed" },
	{ "leaks --ack 5 --limit 5", "not of leaks --ack" },
	{ "completion", "completion wants SHELL" },
	{ "completion zsh", "completion zsh: want one of: bash" },
	{ "completion bash --kinds all", "not of completion" },
	{ "leaks --reclaimed --older 1h",
		"--older is an option of leaks, sessions and map, not of leaks --reclaimed" },
	{ "leaks --kinds all --ack all", "--kinds is an option of leaks, not of" },
	{ "leaks --reclaimed --ack 5", "--ack and --reclaimed: want one of them" },
	{ "leaks --reclaimed --blocks", "--blocks is an option of map, not of" },
	{ "map --reclaimed", "--reclaimed is an option of leaks, not of map" },
	{ "status --ack all", "--ack is an option of leaks, not of status" },
	{ "leaks --ack", "--ack wants a value" },
	{ "leaks --ack 0", "--ack 0: want the number of a line of history, or all" },
	{ "leaks --ack -1", "--ack -1" },
	{ "leaks --ack 9223372036854775808", "--ack 9223372036854775808" },
	{ "leaks --ack every", "--ack every" },
	{ "reclaimed", "no such command: reclaimed" },
	{ "evict", "evict wants SESSION" },
	{ "evict 12zz", "evict 12zz: want the first digits of a session's number" },
	{ "evict 0123456789abcdef0123456789abcdef0", "evict 0123" },
	{ "evict 1a --admin SOCKET", "evict takes memory away, and there is nobody" },
	{ "revoke 0x9e00000000001010 --admin SOCKET", "revoke takes memory away, and there" },
	{ "reclaim -j --admin SOCKET", "reclaim takes memory away, and there is nobody" },
	{ "revoke here", "revoke here: want a remote address" },
	{ "resize", "resize wants --size SIZE" },
	{ "resize --size much", "--size much: want a size like 4G" },
	{ "resize --size 4G --yes", "--yes is an option of evict, revoke and reclaim, not of" },
	{ "map --size 4G", "--size is an option of resize, not of map" },
	{ "quota --yes", "--yes is an option of evict, revoke and reclaim, not of" },
	{ "quota 8G", "too many words: 8G" },
	{ "log-level loud", "log-level loud: want one of: error warn info debug" },
	{ "log-level off", "log-level off: want one of" },
	{ "log-level debug --yes", "--yes is an option of evict, revoke and reclaim, not of" },
	{ "reclaim --watch",
		"--watch is an option of status, leaks, sessions, map, who-holds, numastat, "
		"buddyinfo, slabinfo and" },
	{ "status --watch=0", "--watch 0: want a duration" },
	{ "status --watch=soon", "--watch soon: want a duration" },
	{ "map --node -1", "--node -1" },
	{ "map --limit 0", "--limit 0" },
	{ "status --port 65536", "--port 65536" },
	{ "status --port 1x", "--port 1x" },
	{ "status --timeout 0", "--timeout 0" },
	{ "status --bogus", "no such option, or not with a value: --bogus" },
	{ "status -x", "no such option: -x" },
	{ "status --json=1", "--json=1" },
	{ "status --admin SOCKET --server n12", "want one of them" },
	{ "status --admin SOCKET --port 7471", "the socket says it all" },
	{ "status --server n12:7000 --port 7001", "want one port" },
	{ "status --server n12:0", "is not a port" },
};

static void test_usage(void **state)
{
	struct fixture *f = *state;
	static struct outcome o;

	for (size_t i = 0; i < sizeof(wrong_words) / sizeof(wrong_words[0]); i++) {
		run(f, wrong_words[i].words, &o);
		if (o.status != 2 || o.out[0] || !strstr(o.err, wrong_words[i].complaint))
			fail_msg("%s: status %d, %s", wrong_words[i].words, o.status, o.err);
		assert_non_null(strstr(o.err, "Try 'rmemctl --help'."));
	}
}

static void test_help(void **state)
{
	static const struct {
		const char *words, *golden;
	} all[] = {
		{ "--help", "help" },
		{ "-h", "help" },
		{ "status --help", "help-status" },
		{ "leaks --help", "help-leaks" },
		{ "leaks --reclaimed --help", "help-leaks" },
		{ "sessions --help", "help-sessions" },
		{ "map -h", "help-map" },
		{ "--help who-holds", "help-who-holds" },
		{ "numastat --help", "help-numastat" },
		{ "buddyinfo --help", "help-buddyinfo" },
		{ "slabinfo --help", "help-slabinfo" },
		{ "audit --help", "help-audit" },
		{ "evict --help", "help-evict" },
		{ "revoke --help", "help-revoke" },
		{ "reclaim --help", "help-reclaim" },
		{ "resize --help", "help-resize" },
		{ "quota --help", "help-quota" },
		{ "log-level --help", "help-log-level" },
		{ "completion --help", "help-completion" },
		{ "completion bash", "completion-bash" },
	};
	struct fixture *f = *state;
	static struct outcome o;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		run(f, all[i].words, &o);
		assert_int_equal(o.status, 0);
		assert_prints(&o, all[i].golden);
	}
	run(f, "--version", &o);
	assert_int_equal(o.status, 0);
	assert_string_equal(o.out, "rmemctl " RMEM_VERSION "\n");
}

/* The words that bash offers for the last of these, which may be empty. */
static void test_completion(void **state)
{
	static const struct {
		const char *words, *offers;
	} all[] = {
		{ "rmemctl st", "status " },
		{ "rmemctl who", "who-holds " },
		{ "rmemctl nu", "numastat " },
		{ "rmemctl leaks --r", "--reclaimed " },
		{ "rmemctl leaks --to", "" }, /* an old name */
		{ "rmemctl --json map --b", "--blocks " },
		{ "rmemctl status --b", "" },
		{ "rmemctl status --ti", "--timeout " },
		{ "rmemctl leaks --kinds z", "zombie " },
		{ "rmemctl leaks --sort ag", "age ago " }, /* of --reclaimed, too */
		{ "rmemctl leaks --so", "--sort " },
		{ "rmemctl leaks --kinds idle,limbo,de", "idle,limbo,definite " },
		{ "rmemctl sessions -o pid,ho", "pid,host " },
		{ "rmemctl log-level d", "debug " },
		{ "rmemctl --port ''", "" },
		{ "rmemctl leaks --ack a", "all " },
		{ "rmemctl completion ''", "bash --admin --server --port --timeout --json --help "
					   "--version " },
	};
	char command[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		char offers[512] = "";
		FILE *bash;

		snprintf(command, sizeof(command),
			"exec bash -c 'set -u; source <(" BIN_DIR "/rmemctl completion bash); "
			"complete -p rmemctl >/dev/null || exit; COMP_WORDS=(\"$@\"); "
			"COMP_CWORD=$(($# - 1)); _rmemctl; "
			"((${#COMPREPLY[@]} == 0)) || printf \"%%s \" \"${COMPREPLY[@]}\"' bash %s",
			all[i].words);
		bash = popen(command, "r"); /* NOLINT: nothing of it comes from elsewhere */
		assert_non_null(bash);
		if (!fgets(offers, sizeof(offers), bash))
			offers[0] = '\0';
		assert_int_equal(pclose(bash), 0);
		if (strcmp(offers, all[i].offers) != 0)
			fail_msg("%s: %s", all[i].words, offers);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_completion),
		cmocka_unit_test_setup_teardown(test_reports, setup, teardown),
		cmocka_unit_test_setup_teardown(test_json_is_the_servers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_json_is_selected_like_text, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fail_on, setup, teardown),
		cmocka_unit_test_setup_teardown(test_error_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cannot_acknowledge, setup, teardown),
		cmocka_unit_test_setup_teardown(test_history_as_json, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_servers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_such_node, setup, teardown),
		cmocka_unit_test_setup_teardown(test_confirmation, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_server, setup, teardown),
		cmocka_unit_test_setup_teardown(test_usage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_help, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
