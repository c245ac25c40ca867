package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"linepay-worker/cmd/internal/app"
)

// report is a status for people: a table of each kind, with a blank line between them.
func (s status) report() string {
	var parts []string
	for _, part := range []string{s.channelTable(), s.letterTable(), s.streamTable(), s.Guard.report(s.At), s.workerTable()} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "\n")
}

// table has columns as wide as their widest cell; cells may hold what came from the bus.
func table(head []string, rows [][]string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			cell = cmp.Or(printable(cell), "-")
			if i < len(row)-1 {
				cell += "\t"
			}
			fmt.Fprint(w, cell)
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // a strings.Builder takes everything
	return b.String()
}

func (s status) channelTable() string {
	head := []string{"CHANNEL", "WORKER", "BACKLOG", "IN HAND", "REDELIVERED", "EVENTS", "LAST EVENT", "DEAD LETTERS", "OLDEST COMMAND"}
	var rows [][]string
	for _, c := range s.Channels {
		rows = append(rows, []string{
			c.Name, c.worker(s.At), number(c.Backlog), strconv.Itoa(c.InHand), strconv.Itoa(c.Redelivered), number(c.Events),
			ago(s.At, c.LastEvent), number(c.DeadLetters), c.Oldest.report(s.At),
		})
	}
	if len(rows) == 0 {
		return "no channel has commands, dead letters or a worker\n"
	}
	return table(head, rows)
}

// worker says whether anybody takes the channel's commands.
func (c channel) worker(now time.Time) string {
	switch {
	case !c.Served && c.Backlog == 0:
		return "none yet"
	case !c.Served:
		return "nobody serves it"
	case !c.PausedUntil.IsZero():
		return fmt.Sprintf("paused until %s (in %s)", c.PausedUntil.Format(time.RFC3339), span(c.PausedUntil.Sub(now)))
	case c.Pulls > 0:
		return "pulls"
	case c.InHand > 0:
		return "no pull right now"
	default:
		return "no pull right now: busy, stopped, or its breaker is open"
	}
}

func (w *undone) report(now time.Time) string {
	if w == nil {
		return ""
	}
	text := fmt.Sprintf("%d, %s, %s", w.Sequence, ago(now, w.At), clip(w.Operation))
	switch {
	case w.Problem != "":
		text += ", unreadable"
	case w.OrderID != "":
		text += ", order " + clip(w.OrderID)
	}
	return text
}

// clip keeps a table readable, whatever a publisher has put into an id.
func clip(text string) string {
	const most = 60
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most]) + "…"
}

func (s status) letterTable() string {
	var rows [][]string
	for _, l := range s.DeadLetters {
		rows = append(rows, []string{l.Reason, l.Channel, number(l.Count), ago(s.At, l.Oldest), number(l.OldestSequence)})
	}
	if len(rows) == 0 {
		return ""
	}
	return table([]string{"DEAD LETTERS", "CHANNEL", "COUNT", "OLDEST", "ITS NUMBER"}, rows)
}

func (s status) streamTable() string {
	var rows [][]string
	for _, each := range s.Streams {
		if !each.Exists {
			rows = append(rows, []string{each.Name, "does not exist", "", "", ""})
			continue
		}
		rows = append(rows, []string{
			each.Name, number(each.Messages), limit(each.Messages, each.MaxMessages, number), storage(each.Bytes),
			limit(each.Bytes, each.MaxBytes, storage),
		})
	}
	rows = append(rows, []string{"account", "", "", storage(s.Storage.Bytes), limit(s.Storage.Bytes, s.Storage.MaxBytes, storage)})
	return table([]string{"STREAM", "MESSAGES", "OF AT MOST", "SIZE", "OF AT MOST"}, rows)
}

// limit writes a limit, and how much of it is used.
func limit(used, most uint64, write func(uint64) string) string {
	if most == 0 {
		return "no limit"
	}
	return fmt.Sprintf("%s (%.0f%% full)", write(most), 100*float64(used)/float64(most))
}

func (g guard) report(now time.Time) string {
	if !g.Looked {
		return "GUARD  Redis was not looked at: " + printable(g.Problem) + "\n"
	}
	least := ""
	if !g.Complete {
		least = "at least "
	}
	var b strings.Builder
	fmt.Fprintf(&b, "GUARD  %s%d in doubt, %d parked with money unknown, %d under way, %d to be tried again, of %d on record\n",
		least, g.InDoubt, g.ParkedUnknown, g.UnderWay, g.Retrying, g.Entities)
	line := func(what string, d *doubt, at string) {
		if d != nil {
			fmt.Fprintf(&b, "       %s: %s of %s %s, %s\n", what,
				printable(clip(d.Operation)), printable(clip(d.Command.Source)), printable(clip(d.Command.ID)), at)
		}
	}
	if g.Doubt != nil {
		line("in doubt, due first", g.Doubt, "next look-up "+due(now, g.Doubt.NextLook))
	}
	if g.Parked != nil {
		line("parked, claimed first", g.Parked, "claimed "+ago(now, g.Parked.Claimed))
	}
	if g.Damaged > 0 {
		fmt.Fprintf(&b, "       %d records cannot be read\n", g.Damaged)
	}
	if g.Problem != "" {
		fmt.Fprintf(&b, "       not all was looked at: %s\n", printable(g.Problem))
	}
	return b.String()
}

func (s status) workerTable() string {
	var rows [][]string
	for _, w := range s.Workers {
		if !w.Answers {
			rows = append(rows, []string{w.Admin, "no answer", "", w.Problem})
			continue
		}
		state := "ready"
		if !w.Ready {
			state = "not ready"
		}
		rows = append(rows, []string{w.Admin, state, w.handled(), w.complaints()})
	}
	if len(rows) == 0 {
		return ""
	}
	return table([]string{"ADMIN", "WORKER", "IN FLIGHT", "WHY"}, rows)
}

func (w workerState) handled() string {
	var sum int
	for _, n := range w.InFlight {
		sum += n
	}
	return strconv.Itoa(sum)
}

// complaints are the checks that fail, and that of a reload that did, with which a worker goes on.
func (w workerState) complaints() string {
	var list []string
	for _, check := range w.Checks {
		if !check.OK || check.Name == app.ChannelsCheck && check.Detail != app.AsConfigured {
			list = append(list, check.Name+": "+check.Detail)
		}
	}
	if w.Problem != "" {
		list = append(list, w.Problem)
	}
	return strings.Join(list, "; ")
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

// storage writes a size in the unit that fits.
func storage(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	size, unit := float64(n)/1024, 0
	for ; size >= 1024 && unit < len(units)-1; unit++ {
		size /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", size, units[unit])
}

// ago says how long before now a time was.
func ago(now, at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return span(now.Sub(at)) + " ago"
}

// due says when something is to happen, or should have.
func due(now, at time.Time) string {
	switch {
	case at.IsZero():
		return "when its command is delivered again"
	case at.After(now):
		return "in " + span(at.Sub(now))
	default:
		return "due since " + span(now.Sub(at))
	}
}

// span writes a duration with its two largest units. Clocks of two machines differ, so what is about to be has passed no time.
func span(d time.Duration) string {
	seconds := int64(max(0, d) / time.Second)
	switch {
	case seconds < 60:
		return fmt.Sprintf("%ds", seconds)
	case seconds < 3600:
		return fmt.Sprintf("%dm%ds", seconds/60, seconds%60)
	case seconds < 86400:
		return fmt.Sprintf("%dh%dm", seconds/3600, seconds%3600/60)
	default:
		return fmt.Sprintf("%dd%dh", seconds/86400, seconds%86400/3600)
	}
}
