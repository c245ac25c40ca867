package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"linepay-worker/linepay/simulator"
)

// browser reaches the simulator as the customer does, and its control side as anybody can. Whatever an event or a page names, it goes to no
// other place.
type browser struct {
	client    *http.Client
	simulator string // its base URL
}

func newBrowser(simulator string) browser {
	return browser{simulator: strings.TrimSuffix(simulator, "/"), client: &http.Client{
		Timeout:       5 * time.Second,
		Transport:     &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// errNotThere is the simulator's 404.
var errNotThere = errors.New("the simulator has no such page")

// browse takes the path and query of an address, and asks the simulator for them.
func (b browser) browse(ctx context.Context, method, address, form string, want int) ([]byte, http.Header, error) {
	page, err := url.Parse(address)
	if err != nil {
		return nil, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, b.simulator+page.RequestURI(), strings.NewReader(form))
	if err != nil {
		return nil, nil, err
	}
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := b.client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	switch {
	case err == nil && response.StatusCode == http.StatusNotFound:
		err = fmt.Errorf("%w: %s %s", errNotThere, method, page.Path)
	case err == nil && response.StatusCode != want:
		err = fmt.Errorf("%s %s: status %d, want %d: %s", method, page.Path, response.StatusCode, want, clip(string(body), 200))
	}
	return body, response.Header, err
}

// payForm is the button on the simulator's page.
var payForm = regexp.MustCompile(`(?s)<form method="post" action="([^"]+)">\s*<input type="hidden" name="([^"]+)" value="([^"]+)">\s*<button[^>]*>Pay<`)

// press gives the address that the page sends the customer to.
func (b browser) press(ctx context.Context, page string) (back string, err error) {
	base, err := url.Parse(page)
	if err != nil {
		return "", err
	}
	body, _, err := b.browse(ctx, http.MethodGet, page, "", http.StatusOK)
	if err != nil {
		return "", err
	}
	form := payForm.FindSubmatch(body)
	if form == nil {
		return "", errors.New("the page has no Pay button")
	}
	action, err := base.Parse(string(form[1]))
	if err != nil {
		return "", err
	}
	fields := url.Values{string(form[2]): {string(form[3])}}.Encode()
	_, header, err := b.browse(ctx, http.MethodPost, action.String(), fields, http.StatusSeeOther)
	if err != nil {
		return "", err
	}
	target, err := url.Parse(header.Get("Location"))
	if err != nil {
		return "", err
	}
	return "the shop's " + target.Path, nil
}

// add has the simulator make the next call go wrong that the fault fits.
func (b browser) add(ctx context.Context, f simulator.Fault) error {
	body := fmt.Sprintf(`{"operation":%q,"transactionId":%q,"kind":%q,"code":%q,"when":%q}`,
		f.Operation, f.TransactionID, f.Kind, f.Code, f.When)
	_, _, err := b.browse(ctx, http.MethodPost, "/_simulator/faults", body, http.StatusCreated)
	return err
}

// ledger asks the simulator what was carried out for these orders. Older ones tell of all.
func (b browser) ledger(ctx context.Context, orders ...string) ([]simulator.Transaction, error) {
	var ledger struct {
		Transactions []simulator.Transaction `json:"transactions"`
	}
	query := url.Values{"orderId": orders}.Encode()
	body, _, err := b.browse(ctx, http.MethodGet, "/_simulator/ledger?"+query, "", http.StatusOK)
	if err == nil {
		err = json.Unmarshal(body, &ledger)
	}
	if err == nil && ledger.Transactions == nil {
		err = errors.New("the answer is no ledger")
	}
	if err != nil {
		return nil, fmt.Errorf("read the simulator's ledger: %w", err)
	}
	return ledger.Transactions, nil
}
