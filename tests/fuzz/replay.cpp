// A fuzz target without its fuzzer: gives it the inputs that are kept, so that what was found once is looked for in
// every build.
//
//     fuzz_TARGET CORPUS [VARIANTS]     each file of the folder, and so many pseudo-random variants of each (default:
//     0)
//
// Ends with 1 when an input fails, names it and says how. An input that takes longer than the watchdog fails too.
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/rings/channel.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;
using nimsync::rings_test::Random;

constexpr unsigned kPatience_s = 30;

void give_up(int) {
  constexpr char text[] = "an input takes for ever\n";
  [[maybe_unused]] const auto written = ::write(1, text, sizeof text - 1);
  ::_exit(1);
}

/// From a copy of its own size, so that a read behind it is seen.
void run(const Input& input) {
  ::alarm(kPatience_s);
  const Input exact(input.begin(), input.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
  ::alarm(0);
}

Input read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

Input vary(Input input, const Input& other, Random& random) {
  for (std::uint64_t changes = 1 + random.below(4); changes > 0; --changes) {
    const std::uint64_t at = random.below(input.size() + 1);
    const auto place = input.begin() + static_cast<std::ptrdiff_t>(at);
    switch (random.below(5)) {
      case 0:
        if (place != input.end()) *place = static_cast<std::uint8_t>(random.next());
        break;
      case 1:
        if (place != input.end()) *place ^= static_cast<std::uint8_t>(1U << random.below(8));
        break;
      case 2:
        input.insert(place, static_cast<std::uint8_t>(random.next()));
        break;
      case 3:
        if (place != input.end()) input.erase(place);
        break;
      default: {
        const auto from = other.begin() + static_cast<std::ptrdiff_t>(random.below(other.size() + 1));
        input.erase(place, input.end());
        input.insert(input.end(), from, other.end());
        break;
      }
    }
  }
  return input;
}

}  // namespace

int main(int count, char** arguments) {
  std::uint64_t variants = 0;
  if (count == 3) {
    const char* const end = arguments[2] + std::strlen(arguments[2]);
    if (std::from_chars(arguments[2], end, variants).ptr != end) count = 0;
  }
  if (count < 2 || count > 3) {
    std::cerr << "usage: fuzz_TARGET CORPUS [VARIANTS]\n";
    return 2;
  }
  std::signal(SIGALRM, give_up);
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(arguments[1])) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<Input> inputs;
  for (const auto& file : files) inputs.push_back(read(file));
  Random random(1);
  std::uint64_t runs = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    for (std::uint64_t variant = 0; variant <= variants; ++variant, ++runs) {
      try {
        run(variant == 0 ? inputs[i] : vary(inputs[i], inputs[random.below(inputs.size())], random));
      } catch (const std::exception& e) {
        std::cout << files[i].filename().string() << ", variant " << variant << ": " << e.what() << std::endl;
        return 1;
      }
    }
  }
  std::cout << runs << " inputs" << std::endl;
  return inputs.empty() ? 1 : 0;
}
