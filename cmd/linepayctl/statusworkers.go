package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"linepay-worker/cmd/internal/app"
)

// workerState is what a worker tells on its admin address.
type workerState struct {
	Admin    string            `json:"admin"`
	Answers  bool              `json:"answers"`
	Problem  string            `json:"problem,omitzero"` // why it does not answer
	Ready    bool              `json:"ready"`
	Checks   []app.CheckResult `json:"checks,omitzero"`   // one is called "channel NAME"; it tells why a breaker is open
	InFlight map[string]int    `json:"inFlight,omitzero"` // commands being handled right now, by channel
}

const (
	adminPatience = 10 * time.Second
	mostAdmin     = 4 << 20 // bytes of an answer
)

// askWorkers asks each worker for /readyz and /metrics.
func askWorkers(ctx context.Context, addresses []string) (list []workerState) {
	client := &http.Client{Timeout: adminPatience, Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}}
	for _, address := range addresses {
		address = strings.TrimSuffix(address, "/")
		w := workerState{Admin: withoutPassword(address)}
		if err := w.ask(ctx, client, address); err != nil {
			w.Problem = err.Error()
		}
		list = append(list, w)
	}
	return list
}

func withoutPassword(address string) string {
	at, err := url.Parse(address)
	if err != nil {
		return "an address that cannot be read"
	}
	return at.Redacted()
}

func (w *workerState) ask(ctx context.Context, client *http.Client, address string) error {
	var readiness app.Readiness
	err := get(ctx, client, address+"/readyz", func(code int, body io.Reader) error {
		if code != http.StatusOK && code != http.StatusServiceUnavailable {
			return fmt.Errorf("HTTP status %d: this is no worker's admin address", code)
		}
		if err := json.UnmarshalRead(body, &readiness); err != nil {
			return errors.New("the answer is not that of a worker")
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.Answers, w.Ready, w.Checks = true, readiness.Ready, readiness.Checks
	return get(ctx, client, address+"/metrics", func(_ int, body io.Reader) error {
		w.InFlight = inFlight(body)
		return nil
	})
}

func get(ctx context.Context, client *http.Client, address string, read func(code int, body io.Reader) error) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return read(answer.StatusCode, io.LimitReader(answer.Body, mostAdmin))
}

var inFlightLine = regexp.MustCompile(`^linepay_commands_in_flight\{channel="([a-z0-9_-]{1,32})"\} ([0-9]{1,9})$`)

// inFlight picks the gauge of commands in hand out of Prometheus' text form.
func inFlight(metrics io.Reader) map[string]int {
	found := map[string]int{}
	for lines := bufio.NewScanner(metrics); lines.Scan(); {
		if part := inFlightLine.FindStringSubmatch(strings.TrimSpace(lines.Text())); part != nil {
			found[part[1]], _ = strconv.Atoi(part[2])
		}
	}
	return found
}
