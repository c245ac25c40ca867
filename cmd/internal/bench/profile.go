package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// The worker has no profiler, since one has no place beside a channel secret. For BENCH_PROFILE it is built with one more file, which is
// laid over its package and lies nowhere in the repository.
const profiler = `package main

import (
	"net/http"
	_ "net/http/pprof"
	"os"
)

func init() {
	go func() { panic(http.ListenAndServe(os.Getenv("BENCH_PPROF"), nil)) }()
}
`

// profiler gives the flags of go build.
func (b *bench) profiler(ctx context.Context) ([]string, error) {
	if b.profiles == "" {
		return nil, nil
	}
	if err := os.MkdirAll(b.profiles, 0o700); err != nil {
		return nil, err
	}
	folder, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", "linepay-worker/cmd/linepay-worker").Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	source, overlay := filepath.Join(b.dir, "profiler.go"), filepath.Join(b.dir, "overlay.json")
	if err := os.WriteFile(source, []byte(profiler), 0o600); err != nil {
		return nil, err
	}
	place := filepath.Join(strings.TrimSpace(string(folder)), "profiler.go")
	content, err := json.Marshal(map[string]map[string]string{"Replace": {place: source}})
	if err != nil {
		return nil, err
	}
	return []string{"-overlay", overlay}, os.WriteFile(overlay, content, 0o600)
}

// profiled is a worker's setting. Of several workers none is profiled: they would want one address each.
func (r *round) profiled() []string {
	if r.profiles == "" {
		return nil
	}
	if r.load.workers > 1 {
		return []string{"BENCH_PPROF=127.0.0.1:0"}
	}
	return []string{"BENCH_PPROF=127.0.0.1:" + r.pprof[0]}
}

// natsProfiler are arguments of nats-server, which has a profiler of its own.
func (r *round) natsProfiler() []string {
	if r.profiles == "" {
		return nil
	}
	return []string{"-profile", r.pprof[1]}
}

// profile writes CPU profiles of the window, of the worker and of its nats-server, if that was asked for. The channel gives the end of it.
func (r *round) profile(ctx context.Context, subject string) <-chan error {
	done := make(chan error, 1)
	if r.profiles == "" || subject != subjectWorker || r.load.workers > 1 {
		done <- nil
		return done
	}
	name := fmt.Sprintf("%s-%d", strings.ReplaceAll(r.load.name, "/", "-"), r.rounds)
	var downloads errgroup.Group
	for i, of := range []string{"worker", "nats"} {
		address := fmt.Sprintf("http://127.0.0.1:%s/debug/pprof/profile?seconds=%d", r.pprof[i], max(1, int(r.pace.window/time.Second)))
		downloads.Go(func() error { return download(ctx, address, filepath.Join(r.profiles, name+"-"+of+".pprof")) })
	}
	go func() { done <- downloads.Wait() }()
	return done
}

func download(ctx context.Context, address, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s: %s", response.Status, content)
	}
	return os.WriteFile(path, content, 0o600)
}
