#!/bin/sh
# Starts Lambda's runtime for Java with the function beside it.
exec java -XX:TieredStopAtLevel=1 -cp '/var/task:/var/task/*' \
    com.amazonaws.services.lambda.runtime.api.client.AWSLambda Processor::handleRequest
