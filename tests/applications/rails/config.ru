# A form guarded against forgery, and what Rails takes a request for, in one file: `puma -b tcp://127.0.0.1:8000 config.ru`.
require "action_controller/railtie"
require "logger"

class Example < Rails::Application
  config.root = __dir__
  config.eager_load = false
  config.consider_all_requests_local = false
  config.logger = Logger.new($stderr, level: :warn)
  config.secret_key_base = ENV.fetch("SECRET_KEY_BASE") { "for tests alone " * 4 }
  # Names that this application answers for; a port does not matter.
  config.hosts << "localhost"
  # Plain HTTP is redirected, cookies are Secure. Rails takes the scheme from X-Forwarded-Proto, which spothost alone sets.
  config.force_ssl = true
  config.action_controller.forgery_protection_origin_check = true
  config.session_store :cookie_store, key: "_example"

  routes.append do
    get "/form", to: "form#show"
    post "/form", to: "form#create"
    get "/seen", to: "form#seen"
  end
end

class FormController < ActionController::Base
  protect_from_forgery with: :exception
  rescue_from(ActionController::InvalidAuthenticityToken) { head :forbidden }

  def show
    render inline: '<!doctype html><%= form_with url: "/form", local: true do |form| %><%= form.text_field :word %><%= form.submit %><% end %>'
  end

  def create
    render json: { word: params[:word] }
  end

  def seen
    render json: { url: request.url, address: request.remote_ip, secure: request.ssl? }
  end
end

Example.initialize!
run Example
