import socket
import sys


class Client1:
    def __init__(self, ipaddr, port):
        self.ipaddr = ipaddr
        self.port = port

    def client_link(self):
        c1 = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        c1.connect((self.ipaddr, self.port))
        print('receive info:', c1.recv(1024).decode('utf-8'))
        while True:
            info = input('enter info:')
            c1.send(info.encode())


if __name__ == '__main__':
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8888
    ipaddr = sys.argv[2] if len(sys.argv) > 2 else '127.0.0.1'
    c = Client1(ipaddr, port)
    c.client_link()
