package chaos

import (
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// print writes the table of a run to standard output.
func (w *world) print(title string, settled time.Duration, v verdict, gates *gateCount) {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(table, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	commands, again := w.shop.sent()
	row("commands", "%d, %d sent again", commands, again)
	row("faults of processes", "%d: %s", w.faults.total(), &w.faults)
	row("faults of the network", "%d: %s", w.cuts.total(), &w.cuts)
	row("faults of calls", "%d: %s", w.pay.struck.total(), &w.pay.struck)
	row("started again", "%d: %s", w.restarts.total(), &w.restarts)
	row("calls to LINE Pay", "%d", len(w.pay.sim.Ledger().Calls))
	row("effects", "%d", v.effects)
	row("money events", "%d", v.money)
	row("other answers", "duplicate %d, failed %d, rejected %d; dead letters %d", v.duplicates, v.failed, v.rejected, v.letters)
	row("doubles", "%d", len(v.doubles))
	row("lost", "%d", len(v.unanswered)+len(v.untold))
	row("wrong", "%d", len(v.wrong))
	row("parked", "%d", v.parked)
	if gates != nil {
		row("entities in Redis", "%d, held %d, in doubt %d; records: %s", gates.entities, len(v.held), len(gates.inDoubt), &gates.states)
	}
	row("settled after the last fault", "%.1f s", settled.Seconds())
	row("slowest answer", "%.1f s", v.slowest.Seconds())
	_ = table.Flush() // into memory
	fmt.Fprintf(os.Stdout, "%s (CHAOS_SEED=%d)\n%s", title, w.form.seed, b.String())
}
