# {"schema":2,…} as tables, one per group: rows of columns between tabs for the terminal (--arg form text),
# or Markdown with every quartile (--arg form markdown).

def order: ["perftest", "raw", "rpma", "ucx", "idle"];
def title: {rmem: "librmem", rpma: "librpma", ucx: "UCX"}[.] // .;
def about: {
	latency: "Latency: one call at a time, until the bytes are there. perftest and UCX: a write is half of a ping-pong",
	bandwidth: "Bandwidth at a depth of 1, 16, 64",
	rate: "Rate of 8-byte operations, 64 outstanding",
	pieces: "Scatter-gather: N pieces on both sides, one call. UCX: only on this side; UCX and perftest: a write is half of a ping-pong",
	channels: "1, 2, 4 threads, each with a queue (a queue pair) of its own; perftest and UCX: processes",
	cost: "Cost beside time: of the calling thread; and of rmemd, while only one-sided operations go on",
	instructions: "Instructions per operation: in librmem and the program (raw: the bare loop); in the C library and verbs; without waiting",
	control: "Control: round trips to the server"
}[.] // .;

def short: if . == null then "-" elif fabs >= 1000 then round elif fabs >= 100 then . * 10 | round / 10
	elif fabs >= 1 then . * 100 | round / 100 else . * 1000 | round / 1000 end;
def spread: if . == null then "-" elif .q1 == .q3 then "\(.median | short)"
	else "\(.median | short) (\(.q1 | short)–\(.q3 | short))" end;
def met: if .targets == [] then "" else [.targets[]
	| (if .met then "met" else "NOT met" end) + ": "
	+ (if .most != null then "≤" else "≥" end) + " \(.most // .least)"
	+ (if .against then " × \(.against | title)" else "" end)] | join("; ") end;
# A difference is not a factor.
def verdict: met as $met | if .compare == "difference" then $met | gsub(" × "; " + ") else $met end;

def peers: [.[].parties | keys[]] | unique | . as $there | order | map(select(. as $p | any($there[]; . == $p)));
def versus: [.[].against | keys[]] | unique | . as $there | order | map(select(. as $p | any($there[]; . == $p)));

def cells($peers; $versus; $form):
	def one: if $form == "markdown" then spread else (if . == null then "-" else .median | short end) end;
	[.name, .unit, (.parties.rmem | spread)]
	+ [.parties[$peers[]] | one] + [.against[$versus[]] | spread] + [verdict];

def rows($form): peers as $peers | versus as $versus
	| (if .[0].compare == "ratio" then "/" else "−" end) as $sign
	| [["name", "unit", "librmem"] + ($peers | map(title)) + ($versus | map($sign + title)) + ["target"]]
	+ map(cells($peers; $versus; $form));

.results | [group_by(.group)[]] | sort_by(.[0].group as $g | ["latency", "bandwidth", "rate", "pieces", "channels",
	"cost", "instructions", "control"] | index($g)) | .[]
| (.[0].group | about) as $about
| if $form == "markdown" then "### \($about)\n", (rows($form) | (.[0] | "| " + join(" | ") + " |",
		"|" + (map("---") | join("|")) + "|"), (.[1:][] | map(tostring) | "| " + join(" | ") + " |")), ""
	else "# \($about)", (rows($form)[] | map(tostring) | join("\t")), "" end
