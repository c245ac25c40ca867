package deploy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

// Built a second time, into an archive, the programs are the same to the byte: whoever builds a release can compare.
func TestArchiveOfAReleaseHasTheSameProgramsWhoeverBuildsIt(t *testing.T) {
	t.Parallel()
	source := filepath.Dir(programs)
	build := exec.CommandContext(t.Context(), filepath.Join(source, ".ci", "dist"))
	build.Dir = source
	build.Env = append(os.Environ(), "PLATFORMS=linux/"+runtime.GOARCH, "GOFLAGS=", "VERSION="+version, "COMMIT="+commit, "DATE="+date)
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	name := fmt.Sprintf("linepay-worker_%s_linux_%s", version, runtime.GOARCH)
	archive, err := os.ReadFile(filepath.Join(source, "dist", name+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(source, "dist", "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%x  %s.tar.gz\n", sha256.Sum256(archive), name); string(sums) != want {
		t.Errorf("SHA256SUMS is %q, want %q", sums, want)
	}
	files := unpacked(t, archive)
	var names []string
	for path := range files {
		names = append(names, path)
	}
	slices.Sort(names)
	want := []string{"CHANGELOG.md", "LICENSE", "README.md", "linepay-sandbox", "linepay-worker", "linepayctl"}
	for i := range want {
		want[i] = name + "/" + want[i]
	}
	if !slices.Equal(names, want) {
		t.Fatalf("the archive has %v, want %v", names, want)
	}
	if runtime.GOOS != "linux" {
		return
	}
	for _, program := range []string{"linepay-sandbox", "linepay-worker", "linepayctl"} {
		first, err := os.ReadFile(filepath.Join(programs, program))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, files[name+"/"+program]) {
			t.Errorf("%s is another one when it is built again", program)
		}
	}
}

func unpacked(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	unzipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for reader := tar.NewReader(unzipped); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Uname != "" {
			t.Errorf("%s belongs to %d %s", header.Name, header.Uid, header.Uname)
		}
		if header.Typeflag == tar.TypeReg {
			if files[header.Name], err = io.ReadAll(reader); err != nil {
				t.Fatal(err)
			}
		}
	}
}
