package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"linepay-worker/cmd/internal/app"
)

// askPatience is how long healthz waits for an answer.
const askPatience = 3 * time.Second

// healthz asks the worker that serves ADMIN_ADDR in this container or on this machine whether it runs: images without a shell have nothing
// else to ask with.
func healthz(args []string, stdout, stderr io.Writer) int {
	var settings struct {
		Admin app.AdminSettings `embed:"" group:"Health and metrics"`
	}
	switch err := app.Read(&settings, args); {
	case errors.Is(err, app.ErrHelp):
		fmt.Fprintf(stdout, "Usage: %s healthz [flags]\n\nAsks the worker at ADMIN_ADDR for /healthz: exit code 0 if it runs, 1 if not.\n", program)
		if err := app.Usage(stdout, &settings); err != nil {
			return complain(stderr, err)
		}
		return done
	case err != nil:
		return complain(stderr, err)
	}
	if err := askHealth(settings.Admin); err != nil {
		complain(stderr, err)
		return failed
	}
	fmt.Fprintln(stdout, "ok")
	return done
}

// askHealth gives an error unless a worker answers that it runs.
func askHealth(admin app.AdminSettings) error {
	if !admin.Enabled() {
		return errors.New("ADMIN_ADDR (--admin-addr) is off: there is nobody to ask; give it an address, or remove the health check")
	}
	ctx, cancel := context.WithTimeout(context.Background(), askPatience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+reachable(admin.Addr)+"/healthz", nil)
	if err != nil {
		return err
	}
	// No proxy of the environment stands between a worker and itself.
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return fmt.Errorf("no worker answers at ADMIN_ADDR (--admin-addr): %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("ADMIN_ADDR (--admin-addr) %s answers %s to /healthz: another program may listen there", admin.Addr, answer.Status)
	}
	return nil
}

// reachable is an address to call: one that stands for all addresses is reached at the loopback one.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip.Is6() {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port)
}
