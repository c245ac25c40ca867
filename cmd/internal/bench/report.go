package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is what all rounds have shown.
type report struct {
	loads  []*load
	rounds int
	window time.Duration
	took   time.Duration
	busy   string // the machine's load average before the first round
}

// figures are the medians of one subject under one load. Latencies are of all rounds together.
type figures struct {
	rate, cpu, peak float64   // commands a second; CPU seconds for 1,000 commands; MiB
	servers         []float64 // CPU seconds of each for 1,000 commands
	latency         []time.Duration
}

// of is nil where nothing was measured.
func (l *load) of(subject string) *figures {
	samples := l.samples[subject]
	if len(samples) == 0 {
		return nil
	}
	var rates, cpus, peaks []float64
	f := &figures{}
	for _, s := range samples {
		rates, cpus, peaks = append(rates, s.rate), append(cpus, s.cpu.Seconds()), append(peaks, s.peak)
		f.latency = append(f.latency, s.latency...)
	}
	f.rate, f.cpu, f.peak = median(rates), median(cpus), median(peaks)
	for i := range samples[0].servers {
		var of []float64
		for _, s := range samples {
			of = append(of, s.servers[i])
		}
		f.servers = append(f.servers, median(of))
	}
	return f
}

// yardstick is what a load's worker is compared with.
func (r report) yardstick(l *load) *figures {
	if l.against == "" {
		return l.of(subjectCeiling)
	}
	for _, other := range r.loads {
		if other.name == l.against {
			return other.of(subjectWorker)
		}
	}
	return nil
}

var throughputHead = []string{
	"load", "compared with", "worker /s", "other /s", "share", "wanted",
	"CPU s/1,000", "other CPU", "share", "wanted", "MiB", "other MiB", "wanted",
}

func (r report) throughputRows() (rows [][]string) {
	for _, l := range r.loads {
		worker, other := l.of(subjectWorker), r.yardstick(l)
		if worker == nil || l.rate > 0 {
			continue
		}
		against := l.against
		if against == "" {
			against = subjectCeiling
		}
		row := []string{
			l.name, against, whole(worker.rate), "–", "–", "–", fmt.Sprintf("%.3f", worker.cpu), "–", "–", "–",
			whole(worker.peak), "–", atMost(worker.peak, float64(l.wanted.peak), "%.0f"),
		}
		if other != nil {
			share, cpu := worker.rate/other.rate, worker.cpu/other.cpu
			row[3], row[4], row[5] = whole(other.rate), fmt.Sprintf("%.2f", share), atLeast(share, l.wanted.share)
			row[7], row[8], row[9] = fmt.Sprintf("%.3f", other.cpu), fmt.Sprintf("%.2f", cpu), atMost(cpu, l.wanted.cpu, "%.2f")
			row[11] = whole(other.peak)
		}
		rows = append(rows, row)
	}
	return rows
}

var processorHead = append([]string{"CPU s/1,000 under", "of", "itself"}, serverNames...)

// processorRows show who takes the processors, which all share.
func (r report) processorRows() (rows [][]string) {
	for _, l := range r.loads {
		for _, subject := range []string{subjectWorker, subjectCeiling} {
			f := l.of(subject)
			if f == nil || f.servers == nil {
				continue
			}
			row := []string{l.name, subject, fmt.Sprintf("%.3f", f.cpu)}
			for _, cpu := range f.servers {
				row = append(row, fmt.Sprintf("%.3f", cpu))
			}
			rows = append(rows, row)
		}
	}
	return rows
}

var latencyHead = []string{"load", "of", "commands", "p50", "wanted", "p99", "wanted", "p99.9", "largest"}

func (r report) latencyRows() (rows [][]string) {
	for _, l := range r.loads {
		for _, subject := range []string{subjectWorker, subjectCeiling} {
			f := l.of(subject)
			if f == nil || len(f.latency) == 0 {
				continue
			}
			p50, p99 := percentile(f.latency, 50), percentile(f.latency, 99)
			row := []string{
				l.name, subject, fmt.Sprint(len(f.latency)), ms(p50), "–", ms(p99), "–",
				ms(percentile(f.latency, 99.9)), ms(slices.Max(f.latency)),
			}
			if subject == subjectWorker {
				row[4], row[6] = atMost(inMS(p50), inMS(l.wanted.p50), "%.0f ms"), atMost(inMS(p99), inMS(l.wanted.p99), "%.0f ms")
			}
			rows = append(rows, row)
		}
	}
	return rows
}

func whole(x float64) string          { return fmt.Sprintf("%.0f", x) }
func inMS(d time.Duration) float64    { return float64(d) / float64(time.Millisecond) }
func ms(d time.Duration) string       { return fmt.Sprintf("%.2f ms", inMS(d)) }
func atLeast(x, bound float64) string { return judged(bound, x >= bound, "≥ %.2f") }
func atMost(x, bound float64, form string) string {
	return judged(bound, x <= bound, "≤ "+form)
}

// judged is a bound, and whether it is missed; a bound of 0 is none.
func judged(bound float64, kept bool, form string) string {
	switch {
	case bound == 0:
		return "–"
	case kept:
		return fmt.Sprintf(form, bound)
	default:
		return fmt.Sprintf(form, bound) + " missed"
	}
}

// conditions say what the figures are of.
func (r report) conditions() string {
	return fmt.Sprintf("Medians of %d rounds of %s each, worker and ceiling by turns, on %d processors (%s/%s, %s) with everything on them; "+
		"%s in all. The load average had been %s before.", r.rounds, r.window, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), r.took.Round(time.Second), r.busy)
}

// text is for a terminal.
func (r report) text() string {
	var b strings.Builder
	b.WriteString(r.conditions() + "\n")
	for _, t := range r.tables() {
		b.WriteString("\n")
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, row := range append([][]string{t.head}, t.rows...) {
			fmt.Fprintln(w, strings.Join(row, "\t"))
		}
		_ = w.Flush() // into memory
	}
	return b.String()
}

type table struct {
	head []string
	rows [][]string
}

// tables are those with rows.
func (r report) tables() []table {
	all := []table{{throughputHead, r.throughputRows()}, {processorHead, r.processorRows()}, {latencyHead, r.latencyRows()}}
	return slices.DeleteFunc(all, func(t table) bool { return len(t.rows) == 0 })
}

// markdown is for the README, which says itself what a load is.
func (r report) markdown() string {
	var b strings.Builder
	b.WriteString(r.conditions() + "\n")
	for _, t := range r.tables() {
		fmt.Fprintf(&b, "\n| %s |\n|%s\n", strings.Join(t.head, " | "), strings.Repeat("---|", len(t.head)))
		for _, row := range t.rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		}
	}
	return b.String()
}

// write puts table.md and the pictures into a folder.
func (r report) write(folder string) error {
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return err
	}
	for name, content := range r.pictures() {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(folder, "table.md"), []byte(r.markdown()), 0o600)
}

// doubles is an error for every load under which the worker has carried something out twice: no figure is worth that.
func (r report) doubles() (err error) {
	for _, l := range r.loads {
		for _, s := range l.samples[subjectWorker] {
			if s.tally.Doubles > 0 {
				err = errors.Join(err, fmt.Errorf("%s: of %d commands, the worker carried out %d twice", l.name, s.tally.Effects, s.tally.Doubles))
			}
		}
	}
	return err
}
