package schemas

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"linepay-worker/linepay"
)

// maxErrors bounds the list of an InvalidError: enough to mend a command by, too few to fill an event with.
const maxErrors = 20

// problems collects broken rules while a command is read; reading goes on behind each.
type problems struct{ list []FieldError }

func (p *problems) add(path, message string) {
	if len(p.list) < maxErrors {
		p.list = append(p.list, FieldError{clip(path, 200), message})
	}
}

// object reads the members of one JSON object. Members that were never asked for are unknown, see done. Every method may be called on
// nil, which has no members and breaks no rules.
type object struct {
	problems *problems
	path     string
	nulls    bool // an optional member may be null, which means absent
	members  []member
	asked    []string
}

// presence says whether a member must be there.
type presence bool

const (
	required presence = true
	optional presence = false
)

// root is the object at /data, nil if there is none. Nulls are refused until the reader of LINE Pay's own body allows them.
func (p *problems) root(data *value) *object {
	switch {
	case data == nil:
		p.add("/data", "is missing")
	case data.kind != '{':
		p.add("/data", "must be an object")
	default:
		return &object{problems: p, path: "/data", members: data.members}
	}
	return nil
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

func (o *object) fail(name, message string) {
	o.problems.add(o.path+"/"+pointerEscapes.Replace(name), message)
}

// has reports whether the member is there at all, in order or not.
func (o *object) has(name string) bool { return o.lookup(name) != nil }

func (o *object) lookup(name string) *value {
	if o == nil {
		return nil
	}
	for i := range o.members {
		if v := &o.members[i].value; o.members[i].name == name && (!o.nulls || v.kind != 'n') {
			return v
		}
	}
	return nil
}

// take gives a member to be read, or nil where there is nothing to read.
func (o *object) take(name string, need presence) *value {
	if o == nil {
		return nil
	}
	o.asked = append(o.asked, name)
	v := o.lookup(name)
	switch {
	case v == nil && need == required:
		o.fail(name, "is missing")
	case v != nil && v.kind == 'n':
		o.fail(name, "must not be null")
		return nil
	}
	return v
}

// done refuses the members that nobody asked for. A misspelt refundAmount must not become a full refund.
func (o *object) done() {
	if o == nil {
		return
	}
members:
	for _, m := range o.members {
		for _, name := range o.asked {
			if m.name == name {
				continue members
			}
		}
		o.fail(m.name, "is unknown here; known are "+strings.Join(o.asked, ", "))
	}
}

// textRule is a rule for a string; lengths are in characters.
type textRule struct {
	least, most int
	printable   bool           // no control characters
	pattern     *regexp.Regexp // nil for any text
	words       []string       // nil for any text
}

func (r *textRule) valid(s string) bool {
	if r.words != nil {
		for _, word := range r.words {
			if s == word {
				return true
			}
		}
		return false
	}
	n := utf8.RuneCountInString(s)
	return n >= r.least && n <= r.most && (!r.printable || !hasControl(s)) && (r.pattern == nil || r.pattern.MatchString(s))
}

func (r *textRule) rule() string {
	switch {
	case r.words != nil:
		return "must be one of " + strings.Join(r.words, ", ")
	case r.pattern != nil:
		return fmt.Sprintf("must be a string that matches %s", r.pattern)
	case r.printable:
		return fmt.Sprintf("must be a string of %d to %d characters without control characters", r.least, r.most)
	default:
		return fmt.Sprintf("must be a string of %d to %d characters", r.least, r.most)
	}
}

// text reads a string; "" where there is none or it breaks the rule. Messages tell the rule and never the value.
func (o *object) text(name string, need presence, rule *textRule) string {
	v := o.take(name, need)
	if v == nil {
		return ""
	}
	if v.kind != '"' || !rule.valid(v.text) {
		o.fail(name, rule.rule())
		return ""
	}
	return v.text
}

// texts reads an array of strings.
func (o *object) texts(name string, need presence, rule *textRule, most int) []string {
	var all []string
	for i, v := range o.array(name, need, 0, most) {
		if v.kind != '"' || !rule.valid(v.text) {
			o.problems.add(o.path+"/"+name+"/"+strconv.Itoa(i), rule.rule())
			continue
		}
		all = append(all, v.text)
	}
	return all
}

func (o *object) transactionID(name string, need presence) linepay.TransactionID {
	v := o.take(name, need)
	if v == nil {
		return 0
	}
	return o.asTransactionID(name, v)
}

func (o *object) transactionIDs(name string, most int) []linepay.TransactionID {
	var all []linepay.TransactionID
	for i, v := range o.array(name, optional, 0, most) {
		if id := o.asTransactionID(name+"/"+strconv.Itoa(i), &v); id != 0 {
			all = append(all, id)
		}
	}
	return all
}

func (o *object) asTransactionID(pointer string, v *value) linepay.TransactionID {
	if v.kind == '"' || v.kind == '0' {
		if id, err := linepay.ParseTransactionID(v.text); err == nil {
			return id
		}
	}
	o.problems.add(o.path+"/"+pointer, "must be a string of digits or an integer, from 1 to 9223372036854775807")
	return 0
}

// sign is a rule for the sign of an amount.
type sign int

const (
	anySign sign = iota
	notNegative
	positive
)

// anyScale lets an amount have as many decimals as linepay.Amount takes.
const anyScale = -1

// scaleOf is the number of decimals that a currency allows. No currency of LINE Pay's has more than two, so that much can be said even
// where there is no currency to ask.
func scaleOf(currency string) int {
	if scale, ok := linepay.CurrencyScale(currency); ok {
		return scale
	}
	return 2
}

// amount reads a number or a decimal string; nil where there is none or it breaks the rule. The scale is judged by value: 1000.00 has
// scale 0.
func (o *object) amount(name string, need presence, sign sign, scale int) *linepay.Amount {
	v := o.take(name, need)
	if v == nil {
		return nil
	}
	amount, ok := parseAmount(v)
	switch {
	case !ok:
		o.fail(name, "must be a number or a decimal string such as \"1000\" or \"10.50\", of at most 18 digits on either side of the point")
	case sign == positive && amount.Sign() <= 0:
		o.fail(name, "must be more than 0")
	case sign == notNegative && amount.Sign() < 0:
		o.fail(name, "must not be negative")
	case scale != anyScale && amount.Scale() > scale:
		o.fail(name, fmt.Sprintf("must have at most %d decimals in its currency", scale))
	default:
		return &amount
	}
	return nil
}

func parseAmount(v *value) (amount linepay.Amount, ok bool) {
	switch v.kind {
	case '"':
		amount, err := linepay.ParseAmount(v.text)
		return amount, err == nil
	case '0':
		err := amount.UnmarshalJSON([]byte(v.text))
		return amount, err == nil
	default:
		return amount, false
	}
}

// orZero gives the amount, or 0 for nil.
func orZero(a *linepay.Amount) linepay.Amount {
	if a == nil {
		return linepay.Amount{}
	}
	return *a
}

func (o *object) boolean(name string) *bool {
	v := o.take(name, optional)
	if v == nil {
		return nil
	}
	if v.kind != 't' && v.kind != 'f' {
		o.fail(name, "must be true or false")
		return nil
	}
	is := v.kind == 't'
	return &is
}

func (o *object) integer(name string, least, most int) *int {
	v := o.take(name, optional)
	if v == nil {
		return nil
	}
	n, err := strconv.Atoi(v.text)
	if v.kind != '0' || err != nil || n < least || n > most {
		o.fail(name, fmt.Sprintf("must be an integer from %d to %d", least, most))
		return nil
	}
	return &n
}

// object reads a nested object; nil where there is none.
func (o *object) object(name string, need presence) *object {
	v := o.take(name, need)
	if v == nil {
		return nil
	}
	return o.asObject(name, v)
}

func (o *object) asObject(pointer string, v *value) *object {
	if v.kind != '{' {
		o.problems.add(o.path+"/"+pointer, "must be an object")
		return nil
	}
	return &object{problems: o.problems, path: o.path + "/" + pointer, nulls: o.nulls, members: v.members}
}

// objects reads an array of objects.
func (o *object) objects(name string, need presence, least int) []*object {
	elements := o.array(name, need, least, maxElements)
	all := make([]*object, 0, len(elements))
	for i := range elements {
		if nested := o.asObject(name+"/"+strconv.Itoa(i), &elements[i]); nested != nil {
			all = append(all, nested)
		}
	}
	return all
}

// maxElements bounds arrays for which LINE Pay names no bound.
const maxElements = 1000

func (o *object) array(name string, need presence, least, most int) []value {
	v := o.take(name, need)
	if v == nil {
		return nil
	}
	if v.kind != '[' || len(v.elements) < least || len(v.elements) > most {
		o.fail(name, fmt.Sprintf("must be an array of %d to %d elements", least, most))
		return nil
	}
	return v.elements
}
