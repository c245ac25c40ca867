package simulator

import (
	"bytes"
	"context"
	_ "embed"
	"html/template"
	"net/http"
	"net/url"
	"strings"
)

// The customer's page: the first is paymentUrl.web, the others are its buttons.
const (
	pagePath   = "/web/payment/wait"
	payPath    = "/web/payment/pay"
	cancelPath = "/web/payment/cancel"
)

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Parse(pageSource))

// page is what page.html shows.
type page struct {
	Merchant, Product, OrderID, Amount, Currency string

	State   State
	Reserve string       // "" where there is nothing left to press
	Back    template.URL // the merchant's address to go on to; "" for none. Requests with script addresses are refused
	Hold    bool         // the amount will be held, not taken
	Pay     string
	Cancel  string
}

func (s *Simulator) getPage(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	p := s.reserves[r.URL.Query().Get("transactionReserveId")]
	if p == nil {
		s.mu.Unlock()
		http.Error(w, "There is no such payment.", http.StatusNotFound)
		return
	}
	shown := s.page(p)
	s.mu.Unlock()
	show(w, http.StatusOK, shown)
}

func (s *Simulator) postPay(w http.ResponseWriter, r *http.Request) {
	s.press(w, r, s.authenticate)
}

func (s *Simulator) postCancel(w http.ResponseWriter, r *http.Request) {
	s.press(w, r, s.cancelPayment)
}

// press does what a button says and sends the browser to the merchant. Pressing it again, as people who go back do, leads there again.
// Where nobody is to be sent there, or the payment is dead, the page is shown in its new state.
func (s *Simulator) press(w http.ResponseWriter, r *http.Request, act func(*payment) error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	reserve := r.PostFormValue("transactionReserveId")
	s.mu.Lock()
	p := s.reserves[reserve]
	if p == nil {
		s.mu.Unlock()
		http.Error(w, "There is no such payment.", http.StatusNotFound)
		return
	}
	err := act(p)
	shown := s.page(p)
	s.mu.Unlock()
	switch {
	case err != nil:
		show(w, http.StatusConflict, shown)
	case shown.Back == "":
		show(w, http.StatusOK, shown)
	default:
		w.Header().Set("Location", string(shown.Back))
		w.WriteHeader(http.StatusSeeOther)
	}
}

// page describes a payment to its customer. Callers hold mu.
func (s *Simulator) page(p *payment) page {
	shown := page{
		Merchant: p.channel.MerchantName, Product: p.product, OrderID: p.orderID, Amount: p.requested.String(), Currency: p.currency,
		State: s.aged(p).state, Hold: !p.capture, Pay: payPath, Cancel: cancelPath,
	}
	switch {
	case p.state == Reserved:
		shown.Reserve = p.reserve
	case p.redirects.ConfirmURLType == "NONE":
	case p.state == Authenticated && p.redirects.ConfirmURLType == "SERVER" && s.rules.CallConfirmURL:
	case p.state == Authenticated:
		shown.Back = template.URL(p.appended(p.redirects.ConfirmURL))
	case p.state == Cancelled:
		shown.Back = template.URL(p.appended(p.redirects.CancelURL))
	}
	return shown
}

// appended adds orderId and transactionId to the merchant's address, unless it names them already, and changes nothing else in it.
func (p *payment) appended(address string) string {
	if address == "" {
		return ""
	}
	rest, fragment, hasFragment := strings.Cut(address, "#")
	_, query, hasQuery := strings.Cut(rest, "?")
	values, _ := url.ParseQuery(query) // what cannot be read is kept as it is, and names nothing
	for _, each := range [][2]string{{"orderId", p.orderID}, {"transactionId", p.id.String()}} {
		if values.Has(each[0]) {
			continue
		}
		switch {
		case !hasQuery:
			rest, hasQuery = rest+"?", true
		case !strings.HasSuffix(rest, "?") && !strings.HasSuffix(rest, "&"):
			rest += "&"
		}
		rest += each[0] + "=" + url.QueryEscape(each[1])
	}
	if hasFragment {
		rest += "#" + fragment
	}
	return rest
}

func show(w http.ResponseWriter, status int, shown page) {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, shown); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	writeBody(w, status, "text/html; charset=utf-8", b.Bytes())
}

// callConfirmURL visits the merchant as LINE Pay's servers do for confirmUrlType SERVER, once and whatever the answer. Callers hold mu.
func (s *Simulator) callConfirmURL(p *payment) {
	if p.redirects.ConfirmURLType != "SERVER" || !s.rules.CallConfirmURL || s.ctx.Err() != nil {
		return
	}
	target := p.appended(p.redirects.ConfirmURL)
	s.aside.Go(func() { s.visit(s.ctx, target) })
}

// visit leaves no trace where it fails: LINE Pay promises no second try, and the merchant sees it in check.
func (s *Simulator) visit(ctx context.Context, target string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return
	}
	response, err := s.http.Do(r)
	if err == nil {
		_ = response.Body.Close()
	}
}
