# From samples (see bench-run) to {"schema":2,…}: jq -Rn --rawfile facts FACTS -f bench-stats.jq SAMPLES
#
# Per measurement: median and quartiles of each party; of librmem's value over each other party's in the
# same round, where that means something, else of the difference; and which targets are met.

def round4: if . == 0 then 0 else (fabs | log10 | floor) as $e | pow(10; 4 - $e) as $s | . * $s | round / $s end;

# Between two values in proportion, as R and numpy do.
def quantile($q): sort | ((length - 1) * $q) as $at | ($at | floor) as $low
	| .[$low] + (.[[$low + 1, length - 1] | min] - .[$low]) * ($at - $low);

def spread: {median: (quantile(0.5) | round4), q1: (quantile(0.25) | round4), q3: (quantile(0.75) | round4)};

# What we want to reach: against whom, and how. Writes: ib_write_lat and UCX's put_lat are half of a
# ping-pong, so the party to compare a write that is waited for with is raw, which waits too.
# On a machine that stands still at times (--slow), few waits may sleep, but some do.
def wanted($slow): .name as $name | {
	latency: [{against: (if $name | startswith("write") then "raw" else "perftest" end), most: 1.05},
		{against: "rpma", most: 1}],
	bandwidth: [{against: "perftest", least: 0.95}, {against: "ucx", least: 1}],
	rate: [{against: "perftest", least: 0.95}, {against: "ucx", least: 1}],
	channels: [{against: "perftest", least: 0.95}, {against: "ucx", least: 1}],
	cost: (if $name | endswith(".system_calls") then [{against: "raw", most: (if $slow and ($name | contains("_lat_")) then 0.1 else 0 end)}]
		elif $name == "server_cpu" then [{against: "idle", most: 1}] else [] end),
	instructions: (if $name == "read_8" then [{against: "raw", most: 150}] else [] end)
}[.group] // [];

def judge($value): if $value == null then null
	elif .most != null then $value <= .most else $value >= .least end;

[inputs | split("\t") | {round: .[0], group: .[1], name: .[2], unit: .[3], better: .[4], party: .[5],
	value: (.[6] | tonumber)}] as $samples
| ($facts | split("\n") | map(select(. != "") | split("\t") | {(.[0]): .[1]}) | add) as $about
| (reduce $samples[] as $s ([]; if any(.[]; . == $s.name) then . else . + [$s.name] end)) as $names
| {schema: 2,
	facts: $about,
	results: [$names[] as $name | [$samples[] | select(.name == $name)] as $all
		| ($all | group_by(.party) | map({(.[0].party): .}) | add) as $by
		| ($by.rmem | map({(.round): .value}) | add) as $ours
		| ($all[0].group | . == "cost" or . == "instructions") as $differ
		| ($all[0] | {group, name, unit, better})
		+ {rounds: ($by.rmem | length), parties: ($by | map_values(map(.value) | spread)),
			compare: (if $differ then "difference" else "ratio" end),
			against: ($by | del(.rmem) | map_values(
				[.[] | select($ours[.round] != null) | if $differ then $ours[.round] - .value
					elif .value > 0 then $ours[.round] / .value else empty end] | spread))}
		| . as $r
		| .targets = [wanted($about.slow)[] | . as $t
			| (if .against == null then $r.parties.rmem.median
				else $r.against[$t.against].median end) as $value
			| select($value != null) | . + {met: judge($value)}]]}
