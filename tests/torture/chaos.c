/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/torture/chaos.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/random.h"
#include "tests/torture/crowd.h"
#include "tests/torture/heart.h"
#include "tests/torture/report.h"

#define MS 1000000LL
#define TTL_MS 2000
#define TIMERS 32
#define DECK 32
#define MEET_MS 240000  /* for the other host */
#define QUIET_MS 150000 /* for all clients to check and free what they have */

/* What is done later. */
enum later {
	LATER_NOTHING,
	LATER_CONTINUE, /* a client */
	LATER_HOG,
	LATER_CONTINUE_SERVER,
	LATER_MEND,
	LATER_HEAL,
};

struct timer {
	enum later what;
	int64_t at;
	unsigned client;
	pid_t pid;
};

enum blow {
	BLOW_STOP_SHORT,
	BLOW_STOP_LONG,
	BLOW_KILL,
	BLOW_HOG,
	BLOW_RMEMD_KILL,
	BLOW_RMEMD_TERM,
	BLOW_RMEMD_STOP,
	BLOW_AUDIT,
	BLOW_SPOIL,
	BLOW_CUT,
	BLOW_CLOCK_FORWARD,
	BLOW_CLOCK_BACK,
};

struct chaos {
	struct crowd crowd;
	uint64_t seed;
	int seconds;
	bool wire, clock;
	const char *faults; /* the program that does what needs a shell */
	const char *meet;   /* where two hosts meet; NULL: one host */
	struct timer timers[TIMERS];
	bool spoiled, is_cut;
	enum blow deck[DECK];
	unsigned ncards, decks;
};

/* The exit status of the program with these arguments. */
static int run(const struct chaos *x, const char *what, const char *argument)
{
	char *argv[] = { (char *)x->faults, (char *)what, (char *)argument, NULL };
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		execv(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static void later(struct chaos *x, enum later what, int ms, unsigned client)
{
	for (int i = 0; i < TIMERS; i++) {
		if (x->timers[i].what)
			continue;
		x->timers[i] = (struct timer){ what, heart_now() + ms * MS, client,
			x->crowd.clients[client].pid };
		return;
	}
	abort();
}

static void fire(struct chaos *x, const struct timer *t)
{
	struct crowd_client *client = &x->crowd.clients[t->client];

	switch (t->what) {
	case LATER_NOTHING:
		break;
	case LATER_CONTINUE:
		if (client->pid == t->pid)
			crowd_signal(client, SIGCONT);
		break;
	case LATER_HOG:
		crowd_hog(&x->crowd);
		break;
	case LATER_CONTINUE_SERVER:
		crowd_stop_server(&x->crowd, false);
		break;
	case LATER_MEND:
		run(x, "mend", NULL);
		x->spoiled = false;
		break;
	case LATER_HEAL:
		run(x, "heal", NULL);
		x->is_cut = false;
		break;
	}
}

/* Whose time has come; everybody, at the end. */
static void fire_due(struct chaos *x, bool all)
{
	for (int i = 0; i < TIMERS; i++) {
		struct timer t = x->timers[i];

		if (!t.what || (!all && t.at > heart_now()))
			continue;
		x->timers[i].what = LATER_NOTHING;
		if (!all || t.what != LATER_HOG)
			fire(x, &t);
	}
}

static int some(struct chaos *x, int from, int to)
{
	return from + (int)random_below(&x->seed, (uint64_t)(to - from));
}

/* ---- blows: each is true if it has struck, else it is tried again later ---- */

static bool stop_client(struct chaos *x, bool lasting)
{
	unsigned i = (unsigned)random_below(&x->seed, x->crowd.config.clients);
	struct crowd_client *client = &x->crowd.clients[i];

	if (!client->pid || client->stopped)
		return false;
	crowd_signal(client, SIGSTOP);
	board_event(lasting ? EVENT_STOPS_LONG : EVENT_STOPS_SHORT, 1);
	if (!lasting) {
		later(x, LATER_CONTINUE, some(x, 50, TTL_MS / 2), i);
		return true;
	}
	/* The memory of who is gone for sure is taken when another one needs it. */
	later(x, LATER_HOG, 2 * TTL_MS + some(x, 300, 1000), i);
	later(x, LATER_CONTINUE, 2 * TTL_MS + some(x, 3000, 8000), i);
	return true;
}

static bool kill_client(struct chaos *x)
{
	struct crowd_client *client =
		&x->crowd.clients[random_below(&x->seed, x->crowd.config.clients)];

	if (!client->pid)
		return false;
	crowd_signal(client, SIGKILL);
	board_event(EVENT_KILLS, 1);
	return true;
}

static bool end_server(struct chaos *x, int signo)
{
	if (!crowd_server_works(&x->crowd))
		return false;
	crowd_end_server(&x->crowd, signo, some(x, 0, 2500));
	return true;
}

static bool stop_server(struct chaos *x)
{
	if (!crowd_server_works(&x->crowd))
		return false;
	crowd_stop_server(&x->crowd, true);
	later(x, LATER_CONTINUE_SERVER, some(x, 100, 3 * TTL_MS), 0);
	return true;
}

static bool audit(struct chaos *x)
{
	int status = crowd_server_works(&x->crowd) ? run(x, "audit", x->crowd.config.bin) : 2;

	if (status == 0)
		board_event(EVENT_AUDITS, 1);
	else if (status == 1)
		board_complain(EVENT_UNACCOUNTED, 1, 0, 0,
			"UNACCOUNTED: rmemctl leaks does not find every byte");
	return status == 0 || status == 1;
}

static bool spoil(struct chaos *x)
{
	char percent[8];

	snprintf(percent, sizeof(percent), "%d", some(x, 1, 6));
	if (x->spoiled || run(x, "spoil", percent))
		return false;
	x->spoiled = true;
	board_event(EVENT_WIRE_BAD, 1);
	later(x, LATER_MEND, some(x, 2000, 8000), 0);
	return true;
}

static bool cut(struct chaos *x)
{
	if (x->is_cut || run(x, "cut", NULL))
		return false;
	x->is_cut = true;
	board_event(EVENT_WIRE_CUT, 1);
	later(x, LATER_HEAL, some(x, 200, 3 * TTL_MS), 0);
	return true;
}

static bool step_clock(struct chaos *x, bool forward)
{
	char seconds[16];

	snprintf(seconds, sizeof(seconds), "%s%d", forward ? "" : "-", some(x, 3600, 30 * 3600));
	if (run(x, "step", seconds))
		return false;
	board_event(forward ? EVENT_CLOCK_FORWARD : EVENT_CLOCK_BACK, 1);
	return true;
}

static bool strike(struct chaos *x, enum blow blow)
{
	switch (blow) {
	case BLOW_STOP_SHORT:
	case BLOW_STOP_LONG:
		return stop_client(x, blow == BLOW_STOP_LONG);
	case BLOW_KILL:
		return kill_client(x);
	case BLOW_HOG:
		crowd_hog(&x->crowd);
		return true;
	case BLOW_RMEMD_KILL:
		return end_server(x, SIGKILL);
	case BLOW_RMEMD_TERM:
		return end_server(x, SIGTERM);
	case BLOW_RMEMD_STOP:
		return stop_server(x);
	case BLOW_AUDIT:
		return audit(x);
	case BLOW_SPOIL:
		return spoil(x);
	case BLOW_CUT:
		return cut(x);
	default:
		return step_clock(x, blow == BLOW_CLOCK_FORWARD);
	}
}

static void add_cards(struct chaos *x, const enum blow *cards, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x->deck[x->ncards++] = cards[i];
}

static void swap_cards(struct chaos *x, unsigned i, unsigned j)
{
	enum blow card = x->deck[i];

	x->deck[i] = x->deck[j];
	x->deck[j] = card;
}

/* All that there is, in another order each time: so that each happens even in a short run. */
static void shuffle(struct chaos *x)
{
	static const enum blow clients[] = { BLOW_STOP_LONG, BLOW_STOP_SHORT, BLOW_KILL,
		BLOW_STOP_LONG, BLOW_HOG };
	static const enum blow server[] = { BLOW_RMEMD_KILL, BLOW_RMEMD_TERM, BLOW_RMEMD_STOP,
		BLOW_AUDIT };
	static const enum blow wire[] = { BLOW_SPOIL, BLOW_CUT };
	static const enum blow clock[] = { BLOW_CLOCK_FORWARD, BLOW_CLOCK_BACK };

	x->ncards = 0;
	add_cards(x, clients, sizeof(clients) / sizeof(clients[0]));
	if (x->crowd.config.host == 1)
		add_cards(x, server, sizeof(server) / sizeof(server[0]));
	if (x->wire)
		add_cards(x, wire, sizeof(wire) / sizeof(wire[0]));
	if (x->clock)
		add_cards(x, clock, sizeof(clock) / sizeof(clock[0]));
	for (unsigned i = x->ncards; i > 1; i--)
		swap_cards(x, i - 1, (unsigned)random_below(&x->seed, i));
	x->decks++;
}

/* The next card; one that cannot be played now goes back. */
static void play(struct chaos *x)
{
	if (!x->ncards)
		shuffle(x);
	if (strike(x, x->deck[x->ncards - 1]))
		x->ncards--;
	else
		swap_cards(x, x->ncards - 1, (unsigned)random_below(&x->seed, x->ncards));
}

/* ---- the run ---- */

static void tick(struct chaos *x, bool clients)
{
	crowd_tend(&x->crowd, clients);
	fire_due(x, false);
	heart_pause(20);
}

/* Tell the other host; wait for it. False: in vain. */
static void tell(const struct chaos *x, const char *word)
{
	char path[512];
	FILE *f;

	if (!x->meet)
		return;
	snprintf(path, sizeof(path), "%s/torture-%s-%u", x->meet, word, x->crowd.config.host);
	f = fopen(path, "w");
	if (f)
		fclose(f);
}

static bool await(struct chaos *x, const char *word, bool clients)
{
	int64_t limit = heart_now() + MEET_MS * MS;
	char path[512];

	if (!x->meet)
		return true;
	snprintf(path, sizeof(path), "%s/torture-%s-%u", x->meet, word, 3 - x->crowd.config.host);
	while (access(path, F_OK)) {
		if (heart_now() > limit) {
			board_complain(EVENT_STUCK, 1, 0, 0,
				"STUCK: the other host does not say '%s'", word);
			return false;
		}
		tick(x, clients);
	}
	return true;
}

static bool await_server(struct chaos *x)
{
	int64_t limit = heart_now() + MEET_MS * MS;

	while (x->crowd.config.host == 1 && !crowd_server_works(&x->crowd)) {
		if (heart_now() > limit)
			return false;
		tick(x, false);
	}
	return true;
}

/* As long as was asked for; and longer, if that is too short for everything to happen once. */
static bool rages(const struct chaos *x, int64_t began)
{
	int64_t asked = x->seconds * 1000 * MS, now = heart_now();

	if (now - began < asked)
		return true;
	return !(x->decks > 1 || (x->decks == 1 && !x->ncards)) &&
	       now - began < asked + MEET_MS / 2 * MS;
}

static void rage(struct chaos *x)
{
	int64_t began = heart_now(), next = began + 1500 * MS;

	while (rages(x, began)) {
		tick(x, true);
		if (heart_now() < next)
			continue;
		play(x);
		next = heart_now() + some(x, 100, 1900) * MS;
	}
}

/* Everybody goes on, on a good wire; all is checked and freed. */
static void calm(struct chaos *x)
{
	int64_t limit;

	fire_due(x, true);
	await_server(x);
	tell(x, "quiet");
	await(x, "quiet", true);
	atomic_store(&board->calm, 1);
	limit = heart_now() + QUIET_MS * MS;
	while (crowd_count(&x->crowd) && heart_now() < limit)
		tick(x, false);
	if (crowd_count(&x->crowd))
		board_complain(EVENT_STUCK, 1, 0, 0, "STUCK: %u clients do not end",
			crowd_count(&x->crowd));
	for (unsigned i = 0; i < CROWD_CLIENTS + CROWD_HOGS; i++)
		crowd_signal(&x->crowd.clients[i], SIGKILL);
}

static bool judge(struct chaos *x)
{
	const struct report_scope scope = { x->wire, x->clock };
	char path[512];
	bool good;

	if (x->crowd.config.host == 2) {
		snprintf(path, sizeof(path), "%s/torture-report-2", x->meet);
		return report_save(path) == 0 && report_clean();
	}
	await(x, "counts", false);
	audit(x);
	board_event(EVENT_RMEMD_EXPIRED, crowd_log_lines(&x->crowd, "expired: access revoked"));
	board_event(EVENT_RMEMD_RECLAIMED, crowd_log_lines(&x->crowd, ": taking back "));
	if (x->meet) {
		snprintf(path, sizeof(path), "%s/torture-report-2", x->meet);
		if (report_add(path))
			return false;
	}
	good = report_print(&scope);
	crowd_end_server(&x->crowd, SIGTERM, 1000000);
	for (int64_t limit = heart_now() + 20000 * MS; x->crowd.server && heart_now() < limit;)
		tick(x, false);
	return good && !x->crowd.server && !board->counts.events[EVENT_CRASHED];
}

static int parse(struct chaos *x, struct crowd_config *f, int argc, char **argv)
{
	static const struct option options[] = {
		{ "bin", 1, NULL, 'b' },
		{ "dir", 1, NULL, 'd' },
		{ "server", 1, NULL, 'S' },
		{ "host", 1, NULL, 'h' },
		{ "clients", 1, NULL, 'c' },
		{ "seed", 1, NULL, 's' },
		{ "seconds", 1, NULL, 't' },
		{ "slack", 1, NULL, 'l' },
		{ "size", 1, NULL, 'z' },
		{ "faults", 1, NULL, 'f' },
		{ "meet", 1, NULL, 'm' },
		{ "wire", 0, NULL, 'w' },
		{ "clock-steps", 0, NULL, 'k' },
		{ NULL, 0, NULL, 0 },
	};

	for (int o; (o = getopt_long(argc - 1, argv + 1, "", options, NULL)) != -1;) {
		switch (o) {
		case 'b':
			f->bin = optarg;
			break;
		case 'd':
			f->dir = optarg;
			break;
		case 'S':
			f->server = optarg;
			break;
		case 'h':
			f->host = (unsigned)atoi(optarg);
			break;
		case 'c':
			f->clients = (unsigned)atoi(optarg);
			break;
		case 's':
			x->seed = strtoull(optarg, NULL, 0);
			break;
		case 't':
			x->seconds = atoi(optarg);
			break;
		case 'l':
			f->slack_ms = (unsigned)atoi(optarg);
			break;
		case 'z':
			f->size = optarg;
			break;
		case 'f':
			x->faults = optarg;
			break;
		case 'm':
			x->meet = optarg;
			break;
		case 'w':
			x->wire = true;
			break;
		case 'k':
			x->clock = true;
			break;
		default:
			return -1;
		}
	}
	return f->bin && f->dir && f->server && x->faults && f->clients >= 1 &&
			       f->clients <= CROWD_CLIENTS
		       ? 0
		       : -1;
}

int chaos_main(int argc, char **argv)
{
	static struct chaos x = { .seconds = 60, .seed = 1 };
	struct crowd_config f = {
		.host = 1, .clients = 2, .slack_ms = 1000, .size = "8M", .ttl = "2s"
	};
	char path[512];
	bool good;

	if (parse(&x, &f, argc, argv))
		return 2;
	snprintf(path, sizeof(path), "%s/board", f.dir);
	if (board_open(path, 1) || heart_start((int)f.slack_ms)) {
		fprintf(stderr, "torture: %s cannot be made\n", path);
		return 2;
	}
	x.seed += f.host; /* each host has its own */
	f.seed = random_u64(&x.seed);
	crowd_init(&x.crowd, &f);
	if (!await_server(&x)) {
		fprintf(stderr, "torture: rmemd does not start, see its log\n");
		return 1;
	}
	tell(&x, "serving");
	if (!await(&x, "serving", false))
		return 1;
	rage(&x);
	calm(&x);
	good = judge(&x);
	tell(&x, "counts");
	return good ? 0 : 1;
}
