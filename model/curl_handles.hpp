// Owners of libcurl's handles.
#pragma once

#include <curl/curl.h>
#include <memory>
#include <new>
#include <string>

namespace callboard::model {

struct easy_deleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};

struct multi_deleter {
  void operator()(CURLM* handle) const { curl_multi_cleanup(handle); }
};

struct slist_deleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

using easy_handle = std::unique_ptr<CURL, easy_deleter>;
using multi_handle = std::unique_ptr<CURLM, multi_deleter>;

/// Header lines of a request.
class header_lines {
public:
  void add(const std::string& line) {
    auto* const before = list_.release();
    auto* const longer = curl_slist_append(before, line.c_str());
    list_.reset(longer == nullptr ? before : longer);
    if (longer == nullptr) throw std::bad_alloc{};
  }

  [[nodiscard]] curl_slist* get() const { return list_.get(); }

private:
  std::unique_ptr<curl_slist, slist_deleter> list_;
};

}  // namespace callboard::model
