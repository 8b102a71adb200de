# The files that decide and do not act: no verbs, no sockets, no topology, no clock, no random numbers. scripts/check
# reads this list, and the unit tests link it without a server.
set(RMEM_PURE
	audit/audit.c
	audit/audit_merge.c
	audit/finding.c
	base/bitset.c
	base/wait.c
	ledger/accounts.c
	ledger/allocation.c
	ledger/evidence.c
	ledger/history.c
	ledger/ledger.c
	ledger/ledger_recover.c
	ledger/numbering.c
	ledger/sessions.c
	ledger/site_holders.c
	ledger/sites.c
	ledger/slotmap.c
	ledger/slots.c
	ledger/snapshot.c
	ledger/stored_names.c
	ledger/table.c
	ledger/timeline.c
	lease/holder.c
	lease/lease.c
	memory/buddy.c
	memory/wish.c)
