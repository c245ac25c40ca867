package simulator

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"linepay-worker/linepay"
)

// number is an amount of a request body, with what LINE Pay judges beside its value: the decimals of the literal itself.
type number struct {
	linepay.Amount
	given bool
	text  bool // sent as a JSON string
	scale int  // digits behind the point of the literal: 1 for 20.0
}

// UnmarshalJSON reads a JSON number, or a string that holds one; null is not given.
func (n *number) UnmarshalJSON(b []byte) error {
	literal := string(b)
	if literal == "null" {
		*n = number{}
		return nil
	}
	text := literal[0] == '"'
	if text {
		literal = literal[1 : len(literal)-1]
	}
	var amount linepay.Amount
	if literal == "" || literal[0] == '"' || amount.UnmarshalJSON([]byte(literal)) != nil {
		return errors.New("not a number")
	}
	*n = number{Amount: amount, given: true, text: text, scale: literalScale(literal)}
	return nil
}

// literalScale counts the decimals that a number is written with, as a decimal type with a scale does: 20.0 has 1, 2.5e1 has 0.
func literalScale(literal string) int {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(literal), "e")
	_, fraction, _ := strings.Cut(mantissa, ".")
	shift, _ := strconv.Atoi(exponent) // "" is 0
	return max(len(fraction)-shift, 0)
}

type packageBody struct {
	ID       string        `json:"id"`
	Amount   number        `json:"amount"`
	UserFee  number        `json:"userFee"`
	Name     string        `json:"name"`
	Products []productBody `json:"products"`
}

type productBody struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	ImageURL      string `json:"imageUrl"`
	Quantity      number `json:"quantity"`
	Price         number `json:"price"`
	OriginalPrice number `json:"originalPrice"`
}

type redirectsBody struct {
	ConfirmURL     string `json:"confirmUrl"`
	CancelURL      string `json:"cancelUrl"`
	ConfirmURLType string `json:"confirmUrlType"`
}

type requestBody struct {
	Amount       number        `json:"amount"`
	Currency     string        `json:"currency"`
	OrderID      string        `json:"orderId"`
	Packages     []packageBody `json:"packages"`
	RedirectURLs redirectsBody `json:"redirectUrls"`
	Options      struct {
		Payment struct {
			Capture *bool  `json:"capture"`
			PayType string `json:"payType"`
		} `json:"payment"`
		Shipping struct {
			FeeAmount number `json:"feeAmount"`
		} `json:"shipping"`
	} `json:"options"`
}

type amountBody struct {
	Amount   number `json:"amount"`
	Currency string `json:"currency"`
}

type refundBody struct {
	RefundAmount number `json:"refundAmount"`
}

type keyPaymentBody struct {
	ProductName string `json:"productName"`
	Amount      number `json:"amount"`
	Currency    string `json:"currency"`
	OrderID     string `json:"orderId"`
	Capture     *bool  `json:"capture"`
}

// decode reads a request's body; an empty one is {}. Text that is not JSON is 2102, JSON of another shape 2101. Members that the
// simulator does not know are LINE Pay's to ignore.
func (c *call) decode(into any) *answer {
	payload := c.payload
	if len(strings.TrimSpace(string(payload))) == 0 {
		payload = []byte("{}")
	}
	err := json.Unmarshal(payload, into, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	var syntactic *jsontext.SyntacticError
	var semantic *json.SemanticError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntactic):
		return refuse("2102")
	case errors.As(err, &semantic):
		return parameter(semantic.JSONPointer)
	default:
		return refuse("2101")
	}
}

// parameter is 2101 with the member that is wrong.
func parameter(at jsontext.Pointer) *answer {
	return refuse("2101", "["+strings.ReplaceAll(strings.TrimPrefix(string(at), "/"), "/", ".")+"]")
}

// text refuses a string that is missing, if it must not be, or longer than most characters.
func text(at, value string, required bool, most int) *answer {
	if required && value == "" || utf8.RuneCountInString(value) > most {
		return parameter(jsontext.Pointer(at))
	}
	return nil
}

// money refuses an amount that is missing (2101), sent as a string where that is not allowed (2101), or written with more decimals than
// the currency has (1124). Negative ones are 1124 too.
func money(rules Rules, at string, n number, currency string) *answer {
	if !n.given || n.text && rules.RefuseNumericStrings {
		return parameter(jsontext.Pointer(at))
	}
	most, known := linepay.CurrencyScale(currency)
	scale := n.scale
	if rules.IgnoreLiteralScale {
		scale = n.Scale()
	}
	if known && scale > most || n.Sign() < 0 {
		return refuse("1124")
	}
	return nil
}

// limits refuses an amount below the minimum or above the maximum; nothing at all is below every minimum.
func limits(rules Rules, amount linepay.Amount) *answer {
	switch {
	case amount.Sign() <= 0 || amount.Cmp(rules.MinimumAmount) < 0:
		return refuse("1183")
	case rules.MaximumAmount.Sign() > 0 && amount.Cmp(rules.MaximumAmount) > 0:
		return refuse("1184")
	default:
		return nil
	}
}

// first gives the first refusal, so that a list of checks reads as the list it is.
func first(refusals ...*answer) *answer {
	for _, refusal := range refusals {
		if refusal != nil {
			return refusal
		}
	}
	return nil
}

// check refuses a body whose parts are missing, too long or unknown (2101).
func (b *requestBody) check() *answer {
	if refusal := first(
		present("amount", b.Amount.given),
		text("currency", b.Currency, true, 3),
		text("orderId", b.OrderID, true, 100),
		present("packages", len(b.Packages) > 0),
		b.RedirectURLs.check(),
		oneOf("options.payment.payType", b.Options.Payment.PayType, "", "NORMAL", "PREAPPROVED"),
	); refusal != nil {
		return refusal
	}
	for i, p := range b.Packages {
		at := fmt.Sprintf("packages/%d/", i)
		if refusal := first(text(at+"id", p.ID, true, 50), text(at+"name", p.Name, false, 100),
			present(at+"products", len(p.Products) > 0)); refusal != nil {
			return refusal
		}
		for j, product := range p.Products {
			at := fmt.Sprintf("packages/%d/products/%d/", i, j)
			if refusal := first(text(at+"id", product.ID, false, 50), text(at+"name", product.Name, true, 4000),
				text(at+"imageUrl", product.ImageURL, false, 500),
				present(at+"quantity", product.Quantity.given)); refusal != nil {
				return refusal
			}
		}
	}
	return nil
}

func present(at string, is bool) *answer {
	if !is {
		return parameter(jsontext.Pointer(at))
	}
	return nil
}

func oneOf(at, value string, allowed ...string) *answer {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return parameter(jsontext.Pointer(at))
}

// check wants both addresses unless nobody is to be sent there, and no address that a browser would run as a script.
func (b *redirectsBody) check() *answer {
	required := b.ConfirmURLType != "NONE"
	return first(
		oneOf("redirectUrls/confirmUrlType", b.ConfirmURLType, "", "CLIENT", "SERVER", "NONE"),
		address("redirectUrls/confirmUrl", b.ConfirmURL, required),
		address("redirectUrls/cancelUrl", b.CancelURL, required),
	)
}

func address(at, value string, required bool) *answer {
	if refusal := text(at, value, required, 500); refusal != nil || value == "" {
		return refusal
	}
	u, err := url.Parse(value)
	if err != nil {
		return parameter(jsontext.Pointer(at))
	}
	switch u.Scheme { // url.Parse has lower-cased it
	case "", "javascript", "data", "vbscript":
		return parameter(jsontext.Pointer(at))
	default: // https, and the schemes by which apps are opened
		return nil
	}
}
