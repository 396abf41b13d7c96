# One task for mclust, timed inside R: `em` from given parameters, or `search` from mclust's own start.
suppressPackageStartupMessages(library(mclust))
arguments <- commandArgs(trailingOnly = TRUE)
task <- arguments[1]
n <- as.integer(arguments[4])
d <- as.integer(arguments[5])
k <- as.integer(arguments[6])
values <- readBin(arguments[2], "double", n * d + k * (1 + d + d * d))
X <- matrix(values[1:(n * d)], n, d)

if (task == "em") {
  given <- values[-(1:(n * d))]
  sigma <- array(given[-(1:(k + k * d))], c(d, d, k))
  cholsigma <- array(apply(sigma, 3, chol), c(d, d, k))
  parameters <- list(
    pro = given[1:k],
    mean = matrix(given[k + 1:(k * d)], d, k),
    variance = list(modelName = "VVV", d = d, G = k, sigma = sigma, cholsigma = cholsigma)
  )
  control <- emControl(tol = rep(as.numeric(arguments[7]), 2), itmax = rep(as.integer(arguments[8]), 2))
  run <- function() em(modelName = "VVV", data = X, parameters = parameters, control = control)
} else {
  run <- function() {
    set.seed(as.integer(arguments[7]))
    Mclust(X, G = k, modelNames = "VVV", verbose = FALSE)
  }
}

seconds_of <- function() {
  # Seconds of the processor: its own and the system's. They come in milliseconds, so that short calls are averaged.
  begun <- proc.time()
  found <<- run()
  sum((proc.time() - begun)[1:2])
}
found <- NULL
if (task == "em") {
  # R compiles what is called for the second time; a short call is repeated until half a second is over.
  spent <- c(seconds_of(), seconds_of())
  timed <- c()
  while (length(timed) == 0 || sum(timed) < 0.5) timed <- c(timed, seconds_of())
  seconds <- mean(timed)
  passes <- attr(found, "info")["iterations"]
} else {
  seconds <- seconds_of()
  passes <- NaN
}
if (is.null(found) || anyNA(found$parameters$mean)) stop("no fit")
p <- found$parameters
writeBin(as.double(c(seconds, passes, p$pro, p$mean, p$variance$sigma)), arguments[3])
