// Settings: which source wins, and that whoever made a mistake is told where.
#include "daemon/settings.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "tests/service/private_daemon.hpp"

namespace nimsync::registry {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class SettingsTest : public ::testing::Test {
 protected:
  void TearDown() override {
    for (const std::string& name : variables_) ::unsetenv(name.c_str());
  }
  void set(const std::string& name, const std::string& value) {
    ::setenv(name.c_str(), value.c_str(), 1);
    variables_.push_back(name);
  }
  std::string write(const std::string& text) const {
    std::ofstream(path()) << text;
    return path();
  }
  [[nodiscard]] std::string path() const { return folder_.path() + "/nimsyncd.conf"; }
  /// With a file of this text.
  [[nodiscard]] Settings read(const std::string& text, std::vector<std::string> arguments = {}) const {
    arguments.insert(arguments.begin(), {"--config", write(text)});
    return std::get<Settings>(read_settings(arguments));
  }
  [[nodiscard]] std::string refusal(const std::string& text) const {
    try {
      static_cast<void>(read(text));
    } catch (const Error& e) {
      EXPECT_EQ(e.errc(), Errc::invalid) << e.what();
      return e.what();
    }
    return "nothing was refused";
  }

 private:
  testing::TemporaryFolder folder_;
  std::vector<std::string> variables_;
};

TEST_F(SettingsTest, TheCommandLineBeatsTheEnvironmentBeatsTheFile) {
  const std::string text = "max-channels = 1\nmax-sealed = 1\nmax-connections = 1\n";
  set("NIMSYNCD_MAX_SEALED", "2");
  set("NIMSYNCD_MAX_CONNECTIONS", "2");
  const Limits limits = read(text, {"--max-connections", "3"}).server.limits;
  EXPECT_EQ(limits.channels, 1U);
  EXPECT_EQ(limits.sealed, 2U);
  EXPECT_EQ(limits.connections, 3U);
}

TEST_F(SettingsTest, FilesHaveCommentsQuotesAndSizes) {
  const Settings settings = read("# of today\n\n  max-bytes = 1G   # or more\nlog-level = \"debug\"\r\nidle-exit=5");
  EXPECT_EQ(settings.server.limits.bytes, std::uint64_t{1} << 30);
  EXPECT_EQ(settings.log_level, "debug");
  EXPECT_EQ(settings.server.idle_exit, std::chrono::seconds(5));
  EXPECT_EQ(settings.file, path());
  EXPECT_EQ(read("").server.limits.channels, Limits{}.channels);
}

TEST_F(SettingsTest, TheAdministratorsGroupHasANameOrANumber) {
  EXPECT_FALSE(read("").server.administrators);
  EXPECT_EQ(read("admin-group = 4242\n").server.administrators, 4242U);
  EXPECT_EQ(read("admin-group = root\n").server.administrators, 0U);
  EXPECT_THAT(refusal("\nadmin-group = nobody-has-it\n"),
              AllOf(StartsWith(path() + ":2: "), HasSubstr("admin-group"), HasSubstr("nobody-has-it")));
}

TEST_F(SettingsTest, MistakesInAFileAreToldWithTheirLineAndKey) {
  const std::string at = path() + ":3: ";
  const auto in_third_line = [&](const std::string& line) {
    return refusal("\n# fine\n" + line + "\nmax-bytes = x\n");
  };
  EXPECT_THAT(in_third_line("max-bytes = many"), AllOf(StartsWith(at), HasSubstr("max-bytes")));
  EXPECT_THAT(in_third_line("max-bytes = -1"), AllOf(StartsWith(at), HasSubstr("max-bytes")));
  EXPECT_THAT(in_third_line("max-channels = 99999999999999999999"), AllOf(StartsWith(at), HasSubstr("max-channels")));
  EXPECT_THAT(in_third_line("log-level = loud"), AllOf(StartsWith(at), HasSubstr("log-level")));
  EXPECT_THAT(in_third_line("max-fun = 3"), AllOf(StartsWith(at), HasSubstr("no key 'max-fun'")));
  EXPECT_THAT(in_third_line("config = /etc/passwd"), AllOf(StartsWith(at), HasSubstr("no key 'config'")));
  EXPECT_THAT(in_third_line("max-bytes"), StartsWith(at));
  EXPECT_THAT(in_third_line("max-bytes ="), StartsWith(at));
  EXPECT_THAT(in_third_line("= 3"), StartsWith(at));
  EXPECT_THAT(in_third_line("[limits]"), AllOf(StartsWith(at), HasSubstr("sections")));
  EXPECT_THAT(in_third_line("max-bytes = [1G, 2G]"), StartsWith(at));
  EXPECT_THAT(in_third_line(std::string("max\0bytes = 3", 13)), StartsWith(at));
}

TEST_F(SettingsTest, MistakesElsewhereAreToldToo) {
  set("NIMSYNCD_MAX_BYTES", "many");
  EXPECT_THAT(refusal(""), StartsWith("NIMSYNCD_MAX_BYTES: "));
  ::unsetenv("NIMSYNCD_MAX_BYTES");
  EXPECT_THROW(static_cast<void>(read("", {"--no-such-flag"})), Error);
  EXPECT_THROW(static_cast<void>(read_settings({"--config", path() + ".absent"})), Error);
  EXPECT_THROW(static_cast<void>(read_settings({"--config", "/"})), Error);
}

TEST_F(SettingsTest, ARegistryAtAPlaceOfItsOwnReadsNoFileUnlessTold) {
  EXPECT_EQ(std::get<Settings>(read_settings({"--socket", "/nowhere"})).file, "");
  EXPECT_EQ(read("max-channels = 7", {"--socket", "/nowhere"}).server.limits.channels, 7U);
}

}  // namespace
}  // namespace nimsync::registry
