// SPDX-License-Identifier: Apache-2.0
//
// RabbitMQ's own Java client as a program, for tests that foreign messages are
// read: what it prints and takes is "name:value,name:value<TAB>body".
//
//   RabbitClient send PORT QUEUE LINE
//   RabbitClient receive PORT QUEUE COUNT

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.GetResponse;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.StringJoiner;
import java.util.TreeMap;

public final class RabbitClient {
  private static final long PATIENCE_MS = 20000;

  // Whole numbers and truths have types of their own in AMQP.
  private static Object valueOf(String text) {
    if (text.matches("-?[0-9]+")) return Long.valueOf(text);
    if (text.equals("true") || text.equals("false")) return Boolean.valueOf(text);
    return text;
  }

  private static void send(Channel channel, String queue, String line)
      throws Exception {
    String[] parts = line.split("\t", 2);
    Map<String, Object> headers = new HashMap<>();
    for (String pair : parts[0].split(",")) {
      String[] header = pair.split(":", 2);
      headers.put(header[0], valueOf(header[1]));
    }
    channel.confirmSelect();
    channel.basicPublish("", queue, /*mandatory=*/true,
        new AMQP.BasicProperties.Builder().headers(headers).deliveryMode(2).build(),
        parts[1].getBytes(StandardCharsets.UTF_8));
    channel.waitForConfirmsOrDie(PATIENCE_MS);
  }

  private static void receive(Channel channel, String queue, int count)
      throws Exception {
    long deadline = System.currentTimeMillis() + PATIENCE_MS;
    while (count > 0) {
      GetResponse got = channel.basicGet(queue, /*autoAck=*/true);
      if (got == null) {
        if (System.currentTimeMillis() > deadline) {
          throw new IllegalStateException(count + " messages did not come");
        }
        Thread.sleep(20);
        continue;
      }
      StringJoiner headers = new StringJoiner(",");
      new TreeMap<>(got.getProps().getHeaders())
          .forEach((name, value) -> headers.add(name + ":" + value));
      System.out.println(headers + "\t"
          + new String(got.getBody(), StandardCharsets.UTF_8));
      --count;
    }
  }

  public static void main(String[] args) throws Exception {
    ConnectionFactory factory = new ConnectionFactory();
    factory.setHost("127.0.0.1");
    factory.setPort(Integer.parseInt(args[1]));
    try (Connection connection = factory.newConnection();
        Channel channel = connection.createChannel()) {
      if (args[0].equals("send")) {
        send(channel, args[2], args[3]);
      } else {
        receive(channel, args[2], Integer.parseInt(args[3]));
      }
    }
  }
}
