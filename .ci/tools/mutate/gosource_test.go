package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// sample has each kind of branch once. It prints a line for each, which tells whether the branch was taken.
const sample = `package main

import "fmt"

type shape interface{ area() int }

type square struct{}

func (square) area() int { return 4 }

type circle struct{}

func (*circle) area() int { return 3 }

func kind(s shape) string {
	switch s.(type) {
	case square:
		return "square"
	case *circle:
		return "circle"
	}
	return "neither"
}

func size(n int) string {
	switch big := n > 100; {
	case big:
		return "big"
	case n > 10, n < 0:
		return "odd"
	default:
		return "small"
	}
}

func word(n int) (s string) {
	switch m := n; m {
	case 1, 2:
		return "few"
	}
	switch n + 1 {
	case 4:
		s = "three"
	default:
		s = "many"
	}
	return s
}

func receive(c chan int) string {
	select {
	case v := <-c:
		return fmt.Sprint(v)
	default:
	}
	select {
	case c <- 2:
		return "sent"
	default:
		return "full"
	}
}

func main() {
	if one := 1; one == 1 {
		fmt.Println("if")
	}
	if yes() {
		fmt.Println("then")
	} else {
		fmt.Println("else")
	}
	fmt.Println(yes() && (no() || yes()))
	fmt.Println(kind(square{}), kind(&circle{}), size(1), size(20), size(-1), size(200), word(1), word(2), word(3), word(4))
	c := make(chan int, 1)
	fmt.Println(receive(c), receive(c))
}

func yes() bool { return true }
func no() bool  { return false }
`

const unchanged = "if then true square circle small odd odd big few few three many sent 2"

func TestEachBranchOfGoIsSwitchedOffByItsNumber(t *testing.T) {
	t.Parallel()
	l := newList()
	text, err := mutateGo("sample/main.go", sample, l)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(text, "\n") != strings.Count(sample, "\n") {
		t.Error("the changed source has another number of lines")
	}
	program := build(t, text)
	if got := output(t, program, 0); got != unchanged {
		t.Fatalf("without a mutant it prints %q, want %q", got, unchanged)
	}
	want := map[string]string{
		"kind :: case square is gone":                              "if then true neither circle small odd odd big few few three many sent 2",
		"kind :: case *circle is gone":                             "if then true square neither small odd odd big few few three many sent 2",
		"size :: case big is gone":                                 "if then true square circle small odd odd odd few few three many sent 2",
		"size :: case n > 10 is gone":                              "if then true square circle small small odd big few few three many sent 2",
		"size :: case n < 0 is gone":                               "if then true square circle small odd small big few few three many sent 2",
		"size :: default panics":                                   "if then true",
		"word :: case 1 is gone":                                   "if then true square circle small odd odd big many few three many sent 2",
		"word :: case 2 is gone":                                   "if then true square circle small odd odd big few many three many sent 2",
		"word :: case 4 is gone":                                   "if then true square circle small odd odd big few few many many sent 2",
		"word :: default is gone":                                  "if then true square circle small odd odd big few few three sent 2",
		"receive :: case v := <-c is gone":                         "if then true square circle small odd odd big few few three many sent full",
		"receive :: case c <- 2 is gone":                           "if then true square circle small odd odd big few few three many full full",
		"receive :: default panics":                                unchanged, // it is not reached
		"main :: if one == 1 is never true":                        "then true square circle small odd odd big few few three many sent 2",
		"main :: if yes() is never true":                           "if else true square circle small odd odd big few few three many sent 2",
		"main :: if yes() is always true":                          unchanged,
		"main :: yes() && (no() || yes()) without yes()":           unchanged,
		"main :: yes() && (no() || yes()) without (no() || yes())": unchanged,
		"main :: no() || yes() without no()":                       unchanged,
		"main :: no() || yes() without yes()":                      "if then false square circle small odd odd big few few three many sent 2",
	}
	for _, m := range l.all {
		key := strings.TrimPrefix(m.key(), "sample/main.go :: ")
		line, ok := want[key]
		if !ok {
			t.Errorf("unexpected mutant %s", m)
			continue
		}
		delete(want, key)
		if got := output(t, program, m.id); got != line {
			t.Errorf("with %q it prints\n%q, want\n%q", key, got, line)
		}
	}
	for key := range want {
		t.Errorf("no mutant %s", key)
	}
}

// build compiles a changed source.
func build(t *testing.T, text string) string {
	t.Helper()
	folder := t.TempDir()
	for name, content := range map[string]string{
		"go.mod": "module sample\n\ngo 1.26\n", "main.go": text, "points.go": strings.Replace(points, "PACKAGE", "main", 1),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.Command("go", "build", "-o", "program", ".")
	command.Dir = folder
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, text)
	}
	return filepath.Join(folder, "program")
}

// output is what the program prints with a mutant, its words in one line; a program that panics has printed less.
func output(t *testing.T, program string, mutant int) string {
	t.Helper()
	command := exec.Command(program)
	command.Env = append(os.Environ(), "MUTATE_ACTIVE="+strconv.Itoa(mutant), "MUTATE_RECORD=")
	out, err := command.Output()
	if _, panicked := err.(*exec.ExitError); err != nil && !panicked {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(out)), " ")
}

func TestWhatCannotBeSwitchedIsAnError(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"switch n := 1; f(n) { case 2: }":    "compute the value in the statement",
		"switch any(1).(type) { case nil: }": "compare with nil before the switch",
	} {
		_, err := mutateGo("a/a.go", "package a\nfunc f(int) int {\n"+text+"\nreturn 1 }", newList())
		if err == nil || !strings.Contains(err.Error(), "line 3: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want one that says %q", text, err, want)
		}
	}
}

func TestMutantsWithTheSameWordsAreToldApart(t *testing.T) {
	t.Parallel()
	l := newList()
	if _, err := mutateGo("a/a.go", "package a\nfunc f(x bool) { if x { }; if x { } }\nfunc g(x bool) { if x { } }", l); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, m := range l.all {
		keys = append(keys, m.key())
	}
	want := "a/a.go :: f :: if x is never true,a/a.go :: f :: if x is never true (2),a/a.go :: g :: if x is never true"
	if got := strings.Join(keys, ","); got != want {
		t.Errorf("keys are %s, want %s", got, want)
	}
}
