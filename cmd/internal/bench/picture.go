package main

import (
	"fmt"
	"html"
	"strings"
	"time"
)

// chart is a picture of bars, in groups along the x axis.
type chart struct {
	title  string
	groups []string
	series []series
	line   float64 // a level that is worth seeing; 0 = none
	form   string  // of the values, for fmt
}

type series struct {
	name   string
	values []float64 // one for each group
}

// Colours that can be told apart by everybody, in print too.
var colours = []string{"#1b6ca8", "#e8a33d", "#6b9e78"}

// subjectNames are those of the worker and the ceiling, in this order.
var subjectNames = []string{"linepay-worker", "hand-written loop"}

// Sizes of a chart, in pixels.
const (
	chartWidth, chartHeight = 720, 320
	left, right, top, base  = 20, 20, 64, 40
)

// svg draws the chart.
func (c chart) svg() string {
	var b strings.Builder
	text := func(x, y float64, anchor, size, words string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%s">%s</text>`+"\n", x, y, anchor, size, html.EscapeString(words))
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" `+
		`font-family="sans-serif" fill="#222">`+"\n", chartWidth, chartHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", chartWidth, chartHeight)
	text(left, 24, "start", "16", c.title)
	for i, s := range c.series {
		x := float64(left + i*160)
		fmt.Fprintf(&b, `<rect x="%.1f" y="36" width="12" height="12" fill="%s"/>`+"\n", x, colours[i])
		text(x+18, 47, "start", "13", s.name)
	}
	const floor = chartHeight - base
	scale := (floor - top - 16) / c.largest()
	group := float64(chartWidth-left-right) / float64(len(c.groups))
	bar := group * 0.8 / float64(len(c.series))
	for g, name := range c.groups {
		start := left + float64(g)*group + group*0.1
		text(start+group*0.4, floor+20, "middle", "13", name)
		for i, s := range c.series {
			x, height := start+float64(i)*bar, s.values[g]*scale
			fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", x, floor-height, bar*0.94, height, colours[i])
			text(x+bar*0.47, floor-height-4, "middle", "11", fmt.Sprintf(c.form, s.values[g]))
		}
	}
	if c.line > 0 {
		y := floor - c.line*scale
		fmt.Fprintf(&b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#222" stroke-dasharray="4 4"/>`+"\n", left, y, chartWidth-right, y)
	}
	fmt.Fprintf(&b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#222"/>`+"\n</svg>\n", left, floor, chartWidth-right, floor)
	return b.String()
}

func (c chart) largest() (most float64) {
	most = c.line
	for _, s := range c.series {
		for _, value := range s.values {
			most = max(most, value)
		}
	}
	if most == 0 {
		return 1
	}
	return most
}

// pictures gives the charts that there are figures for, by file name.
func (r report) pictures() map[string]string {
	files := map[string]string{}
	share := chart{title: "Commands a second, as a share of the ceiling's", form: "%.2f", line: 1}
	for _, delay := range []time.Duration{0, 20 * time.Millisecond, 200 * time.Millisecond} {
		absolute, cpu := r.byInFlight(delay)
		if len(absolute.groups) == 0 {
			continue
		}
		name := fmt.Sprintf("%dms.svg", delay.Milliseconds())
		files["throughput-"+name], files["cpu-"+name] = absolute.svg(), cpu.svg()
		if shares := ratios(absolute.series); share.groups == nil || len(share.groups) == len(absolute.groups) {
			share.groups = absolute.groups
			share.series = append(share.series, series{name: fmt.Sprintf("LINE Pay takes %s", delay), values: shares})
		}
	}
	if len(share.groups) > 0 {
		files["share.svg"] = share.svg()
	}
	if latency := r.latencyChart(); len(latency.series) > 0 {
		files["latency.svg"] = latency.svg()
	}
	return files
}

// byInFlight are the figures of plain confirms while LINE Pay takes a certain time.
func (r report) byInFlight(delay time.Duration) (rates, cpus chart) {
	rates = chart{title: fmt.Sprintf("Commands a second, by commands in flight; LINE Pay takes %s", delay), form: "%.0f"}
	cpus = chart{title: fmt.Sprintf("CPU seconds for 1,000 commands, by commands in flight; LINE Pay takes %s", delay), form: "%.2f"}
	rates.series = []series{{name: subjectNames[0]}, {name: subjectNames[1]}}
	cpus.series = []series{{name: subjectNames[0]}, {name: subjectNames[1]}}
	for _, l := range r.loads {
		worker, ceiling := l.of(subjectWorker), l.of(subjectCeiling)
		if !strings.HasPrefix(l.name, "throughput/") || l.delay != delay || worker == nil || ceiling == nil {
			continue
		}
		rates.groups, cpus.groups = append(rates.groups, fmt.Sprint(l.inFlight)), append(cpus.groups, fmt.Sprint(l.inFlight))
		for i, f := range []*figures{worker, ceiling} {
			rates.series[i].values = append(rates.series[i].values, f.rate)
			cpus.series[i].values = append(cpus.series[i].values, f.cpu)
		}
	}
	return rates, cpus
}

// ratios are those of the first series to the second.
func ratios(s []series) (list []float64) {
	for i, value := range s[0].values {
		list = append(list, value/s[1].values[i])
	}
	return list
}

func (r report) latencyChart() chart {
	c := chart{title: "Milliseconds added to LINE Pay's own time, from the publish of a command until its event is stored", form: "%.1f"}
	c.groups = []string{"p50", "p99", "p99.9"}
	for _, l := range r.loads {
		for i, subject := range []string{subjectWorker, subjectCeiling} {
			if f := l.of(subject); f != nil && len(f.latency) > 0 {
				c.series = append(c.series, series{name: subjectNames[i], values: []float64{
					inMS(percentile(f.latency, 50)), inMS(percentile(f.latency, 99)), inMS(percentile(f.latency, 99.9)),
				}})
			}
		}
	}
	return c
}
