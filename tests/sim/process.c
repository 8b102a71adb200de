/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/process.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/trace.h"

#define PROCESSES_MAX 1024

static struct {
	bool here;
	enum process_state state;
} processes[PROCESSES_MAX];
static unsigned nprocesses;

enum process_state __wrap_identity_probe(const struct identity *who);
void __wrap_identity_boot(uint8_t boot_id[16], uint64_t *out_clock);

void processes_begin(void)
{
	nprocesses = 0;
}

unsigned process_start(bool here)
{
	trace_require(nprocesses < PROCESSES_MAX, "too many processes for one seed");
	processes[nprocesses].here = here;
	processes[nprocesses].state = PROCESS_ALIVE;
	return nprocesses++;
}

void process_set(unsigned process, enum process_state state)
{
	processes[process].state = state;
}

enum process_state process_state(unsigned process)
{
	return processes[process].state;
}

bool process_is_here(unsigned process)
{
	return processes[process].here;
}

void process_identity(unsigned process, struct identity *out)
{
	memset(out, 0, sizeof(*out));
	out->boot_id[0] = processes[process].here ? 1 : 2;
	out->pid = process + 1;
	out->start_ticks = 100 + process;
	snprintf(out->host, sizeof(out->host), "host");
	out->uid = process % 2;
	if (process % 4)
		snprintf(out->job, sizeof(out->job), "job %u", process / 4 % 2);
	snprintf(out->exe, sizeof(out->exe), "client");
}

enum process_state __wrap_identity_probe(const struct identity *who)
{
	trace_require(who->pid && who->pid <= nprocesses, "a session of a process that never was");
	return processes[who->pid - 1].here ? processes[who->pid - 1].state : PROCESS_UNKNOWN;
}

void __wrap_identity_boot(uint8_t boot_id[16], uint64_t *out_clock)
{
	memset(boot_id, 0, 16);
	boot_id[0] = 1;
	*out_clock = 0;
}
